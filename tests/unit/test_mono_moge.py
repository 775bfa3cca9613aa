"""MoGe as a depth network: from files as they are published to depth, and from files that lie."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from align3r.cli.main import main
from align3r.config import PriorName, PriorOptions
from align3r.errors import WeightsError
from align3r.io.result import load
from align3r.models.checkpoint import Checkpoint
from align3r.models.dinov2 import VitArchitecture
from align3r.models.moge.camera import focal_and_shift
from align3r.models.moge.estimate import estimate, tokens_at, unprojected
from align3r.models.moge.loading import fit, load_moge
from align3r.models.moge.sizes import ENCODERS
from align3r.models.verify import verify
from align3r.mono.moge import whole
from align3r.mono.network import DepthNetwork
from align3r.mono.registry import make_depth_network

GOLDEN = Path(__file__).parents[1] / "golden" / "multiview"
CLIP = str(Path(__file__).parents[2] / "examples" / "clip.mp4")
FILES: dict[str, str] = {"moge": "moge_v1_tiny", "moge2": "moge_v2_tiny"}
TINY = VitArchitecture(embed_dim=32, depth=4, num_heads=2, image_size=70, resampling="scale")
FP32: dict[str, Any] = {"device": torch.device("cpu"), "dtype": torch.float32}
SIZE = (60, 84)


@pytest.fixture(autouse=True)
def tiny_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENCODERS, "dinov2_tiny14", TINY)


def published(name: str) -> dict[str, Any]:
    """What a published file holds."""
    config = json.loads((GOLDEN / f"{FILES[name]}.config.json").read_text())["model_config"]
    return {"model_config": config, "model": load_file(GOLDEN / f"{FILES[name]}.safetensors")}


def saved(content: dict[str, Any], folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / "model.pt")
    return str(folder)


@pytest.fixture
def weights(tmp_path: Path) -> dict[str, str]:
    """Folders as the hub has them: a single file in each."""
    return {name: saved(published(name), tmp_path / name) for name in FILES}


def images(n: int) -> list[np.ndarray]:
    """Of which the tiny networks make views of a camera."""
    given = np.load(GOLDEN / "moge_v1_tiny_io.npz")["a.image"].transpose(0, 2, 3, 1)
    return list((255 * given[:n]).astype(np.uint8))


def made(name: str, weights: dict[str, str], **how: Any) -> DepthNetwork:
    return make_depth_network(PriorOptions(weights=weights[name]), name, **{**FP32, **how})


@pytest.mark.parametrize("name", FILES)
def test_answers_are_the_estimates(weights: dict[str, str], name: str) -> None:
    network = made(name, weights)
    assert (network.name, network.kind) == (name, "depth")
    assert network.is_metric == (name == "moge2")
    (answer,) = network(images(1))
    pixels = torch.from_numpy(images(1)[0] / np.float32(255)).permute(2, 0, 1)[None]
    found = estimate(load_moge(weights[name]), pixels, tokens=60)
    mask, depth = found.mask[0].numpy(), found.depth[0].numpy()
    assert answer.values.dtype == np.float32 and answer.values.shape == SIZE
    np.testing.assert_allclose(answer.values[mask], depth[mask], rtol=1e-5)
    assert name == "moge2" or not mask.all()
    np.testing.assert_allclose(answer.values[~mask], depth[mask].max(), rtol=1e-5)
    focal = float(found.intrinsics[0, 0, 0]) * SIZE[1]
    assert answer.focal == (pytest.approx(focal, rel=1e-5) if focal > 0 else None)


@pytest.mark.parametrize("name", FILES)
def test_a_batch_is_its_images(weights: dict[str, str], name: str) -> None:
    network = made(name, weights)
    together = network(images(2))
    assert any(answer.focal is not None for answer in together)
    for image, answer in zip(images(2), together, strict=True):
        (alone,) = network([image])
        np.testing.assert_allclose(answer.values, alone.values, rtol=1e-3)
        assert (answer.focal or 0) == pytest.approx(alone.focal or 0, rel=1e-3)


@pytest.mark.parametrize("name", FILES)
def test_half_precision_is_of_the_matrices_alone(weights: dict[str, str], name: str) -> None:
    exact, half = load_moge(weights[name]), load_moge(weights[name], dtype=torch.bfloat16)
    kinds = {n: p.dtype for n, p in half.named_parameters()}
    assert {n for n, kind in kinds.items() if kind == torch.bfloat16} == {
        n for n in kinds if ".attn." in n or ".mlp." in n
    }
    pixels = torch.from_numpy(np.stack(images(1)) / np.float32(255)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        ours, truth = (network(pixels, 30).points.flatten() for network in (half, exact))
    assert ours.dtype == torch.float32
    assert np.corrcoef(ours, truth)[0, 1] > 0.99


def test_what_the_mask_leaves_out_is_far() -> None:
    depth = np.array([[1.0, 9.0], [3.0, -7.0]], np.float32)
    mask = np.array([[True, False], [True, False]])
    np.testing.assert_array_equal(whole(depth, mask), [[1, 3], [3, 3]])
    np.testing.assert_array_equal(whole(depth, np.zeros_like(mask)), np.zeros((2, 2)))
    depth[0, 1] = np.nan
    assert np.isnan(whole(depth, mask)[0, 1]), "the rest of the program has to hear of it"


def test_a_picture_of_nothing_has_no_camera(weights: dict[str, str]) -> None:
    network = load_moge(weights["moge"])
    with torch.no_grad():
        network.head.output_block[1][2].bias -= 100  # type: ignore[union-attr, index, operator]
    pixels = torch.from_numpy(np.stack(images(2)) / np.float32(255)).permute(0, 3, 1, 2)
    found = estimate(network, pixels, tokens=30)
    assert not found.mask.any()
    assert found.intrinsics[:, 0, 0].isnan().all()
    assert found.depth.isfinite().all()


@pytest.mark.parametrize("fov", [30.0, 75.0, 110.0])
@pytest.mark.parametrize("size", [(50, 80), (90, 40)])
def test_a_view_of_a_known_camera_is_found_again(fov: float, size: tuple[int, int]) -> None:
    fx = 0.5 / np.tan(np.radians(fov) / 2)
    k = torch.tensor([[fx, 0, 0.5], [0, fx * size[1] / size[0], 0.5], [0, 0, 1]])[None]
    rng = np.random.default_rng(1)
    depth = torch.from_numpy(rng.uniform(2, 6, (1, *size)))
    points = unprojected(depth, k)[0].numpy()
    points[..., 2] -= 1.25
    mask = rng.random(size) < 0.7
    points[~mask] = np.nan
    found = focal_and_shift(points, mask)
    assert found.focal * np.hypot(*size) / 2 / size[1] == pytest.approx(fx, rel=1e-3)
    assert found.shift == pytest.approx(1.25, abs=0.01)
    given = focal_and_shift(points, mask, focal=found.focal)
    assert given.shift == pytest.approx(1.25, abs=0.01)


@pytest.mark.parametrize("points", [np.zeros((8, 8, 3)), np.full((8, 8, 3), np.inf)])
def test_points_that_no_camera_sees(points: np.ndarray) -> None:
    assert np.isnan(focal_and_shift(points, np.ones((8, 8), bool))).all()


def test_a_mirrored_view_has_a_negative_focal_length() -> None:
    v, u = np.mgrid[-1:1:8j, -1:1:8j]
    points = np.stack([-u, -v, 2 + np.sin(3 * u)], -1)
    points[..., :2] *= points[..., 2:]
    found = focal_and_shift(points, np.ones((8, 8), bool))
    assert found.focal == pytest.approx(-(0.5**0.5) * 7 / 8, rel=1e-3)
    assert found.shift == pytest.approx(0, abs=1e-3)


def test_levels_of_detail() -> None:
    assert [tokens_at((1200, 3600), k) for k in (0, 3, 9)] == [1200, 2000, 3600]
    with pytest.raises(ValueError, match="a level of detail of 10, not 0 to 9"):
        tokens_at((1200, 3600), 10)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 3)])
@pytest.mark.parametrize("name", FILES)
def test_images_of_odd_sizes(weights: dict[str, str], name: str, size: tuple[int, int]) -> None:
    with torch.inference_mode():
        answer = load_moge(weights[name])(torch.rand(1, 3, *size), 20)
    assert answer.points.shape == (1, *size, 3)
    assert answer.points.isfinite().all()


@pytest.mark.parametrize(
    ("name", "held", "message"),
    [
        ("moge", "moge2", "holds a MoGe-2, and moge is MoGe"),
        ("moge2", "moge", "holds a MoGe, and moge2 is MoGe-2"),
    ],
)
def test_the_other_version(weights: dict[str, str], name: str, held: str, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        make_depth_network(PriorOptions(weights=weights[held]), name, **FP32)


def changed(name: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Configs that are wrong, and what is said of them."""
    range_of = "num_tokens_range"
    yield "remap_output is 'sinh', not 'exp'", name, {"remap_output": "sinh"}
    yield "its config names no encoder", name, {"encoder": None}
    yield "its encoder is 'dinov2_vitg14', not one of", name, {"encoder": "dinov2_vitg14"}
    yield "its range of tokens is 'many'", name, {range_of: "many"}
    yield r"its range of tokens is \[0, 60\]", name, {range_of: [0, 60]}
    yield r"its range of tokens is \[60, 12\]", name, {range_of: [60, 12]}
    yield r"its range of tokens is \[1, 1000000000\]", name, {range_of: [1, 10**9]}
    yield r"its range of tokens is \[1, nan\]", name, {range_of: [1, float("nan")]}
    yield "intermediate_layers is 5, of an encoder of 4", "moge", {"intermediate_layers": 5}
    yield r"intermediate_layers is \[1, 1\]", "moge", {"intermediate_layers": [1, 1]}
    yield "1 tensor missing|of another shape|unknown", "moge", {"intermediate_layers": 3}


@pytest.mark.parametrize(
    ("message", "name", "change"), [*changed("moge"), *list(changed("moge2"))[:8]]
)
def test_configs_that_are_wrong(
    tmp_path: Path, message: str, name: str, change: dict[str, Any]
) -> None:
    content = published(name)
    content["model_config"] |= change
    with pytest.raises(WeightsError, match=message) as caught:
        load_moge(saved(content, tmp_path / "wrong"))
    assert caught.value.hint and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_files_that_lack_something(tmp_path: Path, name: str) -> None:
    content = published(name)
    for key in content["model"]:
        state = {k: tensor for k, tensor in content["model"].items() if k != key}
        with pytest.raises(WeightsError):
            fit(Checkpoint(tmp_path, content["model_config"], state))
    with pytest.raises(WeightsError, match="has a list for a config"):
        load_moge(saved({**content, "model_config": [1]}, tmp_path / "lacking"))
    with pytest.raises(WeightsError, match="its config names no encoder"):
        load_moge(saved({"model": content["model"]}, tmp_path / "lacking"))


@pytest.mark.parametrize(("name", "said"), [("moge", "MoGe"), ("moge2", "MoGe-2")])
def test_verified_weights(weights: dict[str, str], name: str, said: str) -> None:
    count = len(published(name)["model"])
    assert verify(weights[name])[0] == f"{count} tensors make a {said} network"


def test_numbers_that_are_none(tmp_path: Path) -> None:
    content = published("moge2")
    content["model"]["neck.input_blocks.0.bias"][3] = np.nan
    with pytest.raises(WeightsError, match=r"is not finite: neck\.input_blocks\.0\.bias"):
        load_moge(saved(content, tmp_path))


def test_as_safetensors_with_the_config_beside(tmp_path: Path, weights: dict[str, str]) -> None:
    content = published("moge2")
    save_file(content["model"], tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(content["model_config"]))
    ours, truth = load_moge(tmp_path).state_dict(), load_moge(weights["moge2"]).state_dict()
    assert ours.keys() == truth.keys()
    assert all(torch.equal(ours[key], truth[key]) for key in truth)


@pytest.mark.parametrize(("name", "scale"), [("moge", "relative"), ("moge2", "prior-metric")])
def test_a_reconstruction_on_it(
    tmp_path: Path, weights: dict[str, str], name: PriorName, scale: str
) -> None:
    out = tmp_path / "out"
    words = ["reconstruct", CLIP, "-o", str(out), "--max-frames", "3", "--size", "96"]
    words += ["--model", "geometric", "--device", "cpu", "--align.geometry", "scale-grid"]
    assert main([*words, "--prior", name, "--prior.weights", weights[name]]) == 0
    assert load(out).scale == scale
