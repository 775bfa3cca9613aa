"""MoGe, both versions: tiny networks and their numerics against the reference's own numbers, and
the public ones at full size against their tensors, in moge_manifests.json.

`backbone.blocks.{0-23}.norm1.weight` stands for 24 tensors of one shape.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from align3r.errors import WeightsError
from align3r.models.checkpoint import Checkpoint
from align3r.models.dinov2 import VitArchitecture
from align3r.models.moge.camera import focal_and_shift, focal_of, intrinsics_of
from align3r.models.moge.estimate import estimate, tokens_at
from align3r.models.moge.loading import fit, load_moge
from align3r.models.moge.sizes import ENCODERS
from align3r.models.moge.version1 import Moge1
from align3r.models.moge.version2 import Moge2
from align3r.models.view_plane import view_plane

HERE = Path(__file__).parent / "multiview"
MANIFESTS = json.loads((HERE / "moge_manifests.json").read_text())
NUMERIC = np.load(HERE / "moge_numeric.npz")
VERSIONS = ("v1", "v2")
IO = {version: np.load(HERE / f"moge_{version}_tiny_io.npz") for version in VERSIONS}
TINY = VitArchitecture(embed_dim=32, depth=4, num_heads=2, image_size=70, resampling="scale")


@pytest.fixture(scope="module", autouse=True)
def tiny_encoder() -> Any:
    """The name that the tiny configs give to their encoder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ENCODERS, "dinov2_tiny14", TINY)
        yield


def config(version: str) -> dict[str, Any]:
    text = (HERE / f"moge_{version}_tiny.config.json").read_text()
    return dict(json.loads(text)["model_config"])


@pytest.fixture(scope="module")
def networks(tiny_encoder: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Loaded from files as they are published: config and tensors in one."""
    loaded = {}
    for version in VERSIONS:
        path = tmp_path_factory.mktemp(version) / "model.pt"
        state = load_file(HERE / f"moge_{version}_tiny.safetensors")
        torch.save({"model_config": config(version), "model": state}, path)
        loaded[version] = load_moge(path)
    return loaded


@pytest.mark.parametrize(("case", "tokens"), [("a", 30), ("a", 25), ("b", 25)])
@pytest.mark.parametrize("version", VERSIONS)
def test_what_the_network_says(
    networks: dict[str, Any], version: str, case: str, tokens: int
) -> None:
    io = IO[version]
    with torch.inference_mode():
        answer = networks[version](torch.from_numpy(io[f"{case}.image"]), tokens)
    keys = [key for key in io.files if key.startswith(f"{case}.nt{tokens}.")]
    assert len(keys) == (2 if version == "v1" else 4)
    for key in keys:
        # A normal is a raw output by its length, which may be next to nothing.
        bound = 2e-4 if key.endswith("normal") else 5e-6
        found = getattr(answer, key.rpartition(".")[2])
        np.testing.assert_allclose(found, io[key], rtol=1e-6, atol=bound, err_msg=key)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [("infer30", {}), ("infer30_fov60_noproj", {"fov_x_deg": 60.0, "reprojects": False})],
)
@pytest.mark.parametrize("case", ["a", "b"])
@pytest.mark.parametrize("version", VERSIONS)
def test_estimates(
    networks: dict[str, Any], version: str, case: str, kind: str, asked: dict[str, Any]
) -> None:
    io, prefix = IO[version], f"{case}.{kind}"
    found = estimate(networks[version], torch.from_numpy(io[f"{case}.image"]), tokens=30, **asked)
    mask = io[f"{prefix}.mask"]
    np.testing.assert_array_equal(found.mask, mask)
    assert version == "v2" or 0.5 < mask.mean() < 0.9, "the mask leaves something out"
    for name in ("depth", "points", "intrinsics"):
        truth, ours = io[f"{prefix}.{name}"], getattr(found, name).numpy()
        if kind == "infer30_fov60_noproj" and name != "intrinsics":
            # There the reference has put infinity where the mask is false.
            assert np.isinf(truth[~mask]).all()
            truth, ours = truth[mask], ours[mask]
        np.testing.assert_allclose(ours, truth, rtol=3e-6, atol=2e-5, err_msg=name)
    if version == "v1":
        assert found.normal is None
    else:
        np.testing.assert_allclose(found.normal, io[f"{prefix}.normal"], atol=2e-4)


def test_images_of_a_batch_have_nothing_to_do_with_each_other(networks: dict[str, Any]) -> None:
    images = torch.from_numpy(IO["v2"]["a.image"])
    together, alone = (estimate(networks["v2"], part, tokens=30) for part in (images, images[1:]))
    np.testing.assert_allclose(together.depth[1], alone.depth[0], rtol=1e-4)


@pytest.mark.parametrize("k", [0, 1])
def test_focal_length_and_shift(k: int) -> None:
    points, mask = NUMERIC["focal.points"][k], NUMERIC["focal.mask"][k]
    found = focal_and_shift(points, mask)
    assert found.focal == pytest.approx(float(NUMERIC["focal.focal"][k]), abs=1e-6)
    assert found.shift == pytest.approx(float(NUMERIC["focal.shift"][k]), abs=1e-6)
    known = float(NUMERIC["focal.known_focal"][k])
    given = focal_and_shift(points, mask, focal=known)
    assert given.focal == known
    assert given.shift == pytest.approx(float(NUMERIC["focal.shift_known"][k]), abs=1e-6)


def test_the_view_plane() -> None:
    like = torch.zeros(())
    own = view_plane((4, 7), 7 / 4, like=like)
    np.testing.assert_allclose(own, NUMERIC["uv.w7h4"], atol=1e-6)
    wide = view_plane((4, 7), 2.0, like=like)
    np.testing.assert_allclose(wide, NUMERIC["uv.w7h4_ar2"], atol=1e-6)


@pytest.mark.parametrize(("size", "fov"), [((60, 84), 60.0), ((90, 30), 41.0), ((1, 1), 90.0)])
def test_the_focal_length_of_a_field_of_view(size: tuple[int, int], fov: float) -> None:
    k = intrinsics_of(focal_of(fov, size), size)
    assert 2 * np.degrees(np.arctan(0.5 / k[0, 0])) == pytest.approx(fov)
    assert k[0, 0] * size[1] == pytest.approx(k[1, 1] * size[0]), "pixels are square"


def tensors(name: str) -> dict[str, Tensor]:
    """Every tensor of a public checkpoint, without numbers."""
    found = {}
    for pattern, shape in MANIFESTS[name]["tensors"].items():
        start, _, rest = pattern.partition("{0-23}")
        whole = [f"{start}{i}{rest}" for i in range(24)] if rest else [pattern]
        found |= {key: torch.empty(shape, device="meta") for key in whole}
    return found


def checkpoint(name: str, **changed: Any) -> Checkpoint:
    return Checkpoint(Path("model.pt"), {**MANIFESTS[name]["config"], **changed}, tensors(name))


@pytest.mark.parametrize(
    ("name", "version", "numbers", "range_of_tokens"),
    [
        ("moge_vitl", Moge1, 314_174_026, (1200, 2500)),
        ("moge2_vitl", Moge2, 326_209_227, (1200, 3600)),
        ("moge2_vitl_normal", Moge2, 330_901_550, (1200, 3600)),
    ],
)
def test_the_public_networks_have_exactly_these_tensors(
    name: str, version: type, numbers: int, range_of_tokens: tuple[int, int]
) -> None:
    found = checkpoint(name)
    assert len(found.state) == MANIFESTS[name]["n_keys"]
    network, state = fit(found)
    own = network.state_dict()
    assert isinstance(network, version)
    assert {key: t.shape for key, t in own.items()} == {key: t.shape for key, t in state.items()}
    total = sum(t.numel() for t in own.values())
    assert total == MANIFESTS[name]["n_numbers"] == numbers
    assert network.architecture.tokens_range == range_of_tokens
    assert network.architecture.encoder == VitArchitecture(resampling="scale")


def test_levels_of_the_public_networks() -> None:
    assert fit(checkpoint("moge_vitl"))[0].architecture.levels == (20, 21, 22, 23)
    assert fit(checkpoint("moge2_vitl"))[0].architecture.levels == (5, 11, 17, 23)
    assert [tokens_at((1200, 2500), level) for level in (0, 9)] == [1200, 2500]


def test_the_older_key_for_the_range_of_tokens() -> None:
    old = checkpoint("moge_vitl", num_tokens_range=None, trained_area_range=[250_000, 500_000])
    assert fit(old)[0].architecture.tokens_range == (250_000 // 196, 500_000 // 196)


@pytest.mark.parametrize("name", MANIFESTS)
def test_one_tensor_less_or_more_is_noticed(name: str) -> None:
    less, more = checkpoint(name), checkpoint(name)
    dropped = next(key for key in less.state if key.endswith("blocks.7.ls1.gamma"))
    del less.state[dropped]
    with pytest.raises(WeightsError, match=r"1 tensor missing \(.*blocks\.7\.ls1\.gamma\)"):
        fit(less)
    more.state["head.spare"] = torch.empty(3, device="meta")
    with pytest.raises(WeightsError, match=r"1 tensor unknown \(head\.spare\)"):
        fit(more)
