"""CUT3R against the reference implementation, on random weights, and against the public tensors."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from align3r.errors import WeightsError
from align3r.models.architecture import Cut3rArchitecture
from align3r.models.checkpoint import Checkpoint
from align3r.models.cut3r.head import camera_encoding, colours
from align3r.models.cut3r.loading import fit_cut3r, load_cut3r
from align3r.models.cut3r.network import Cut3r, state_positions
from align3r.models.cut3r.rays import ray_map
from align3r.models.cut3r.scene import camera_pose, see_view
from align3r.models.cut3r.values import Cut3rOutput, Cut3rState
from align3r.models.heads import activate
from align3r.models.rope import rotation

FOLDER = Path(__file__).parent / "multiview"
MANIFEST = json.loads((FOLDER / "cut3r_512_dpt_tensors.json").read_text())
EXACT = 1e-5
ANSWERS = {
    "pts3d_in_self_view": "own_points",
    "conf_self": "own_confidence",
    "pts3d_in_other_view": "points",
    "conf": "confidence",
    "camera_pose": "camera",
    "rgb": "colours",
}
VIEWS = [("images.0", False), ("images.1", False), (None, True), ("images.2", True)]
"""Image and whether there is a ray map, of a sequence that has both."""


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return read("cut3r_tiny_io.npz")


@pytest.fixture(scope="module")
def numeric() -> dict[str, np.ndarray]:
    return read("cut3r_numeric.npz")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network in hub layout."""
    folder = tmp_path_factory.mktemp("weights")
    shutil.copy(FOLDER / "cut3r_tiny.safetensors", folder / "model.safetensors")
    shutil.copy(FOLDER / "cut3r_tiny.config.json", folder / "config.json")
    return folder


@pytest.fixture(scope="module")
def network(weights: Path) -> Cut3r:
    return load_cut3r(weights)


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def read(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / name) as file:
        return dict(file)


def tensor(golden: dict[str, np.ndarray], name: str) -> Tensor:
    return torch.from_numpy(golden[name])


def near(found: Tensor | None, reference: np.ndarray) -> None:
    assert found is not None
    np.testing.assert_allclose(found, reference, atol=EXACT, rtol=EXACT)


def answers_are_near(output: Cut3rOutput, golden: dict[str, np.ndarray], prefix: str) -> None:
    """Every answer that the fixtures have under a prefix."""
    names = [name for name in ANSWERS if f"{prefix}.{name}" in golden]
    assert "camera_pose" in names
    for name in names:
        near(getattr(output, ANSWERS[name]), golden[f"{prefix}.{name}"])


# One frame after the other


def test_the_encoder(network: Cut3r, golden: dict[str, np.ndarray]) -> None:
    view = network.encode(tensor(golden, "images.0"))
    near(view.tokens, golden["enc_feat.0"])
    assert view.grid == (3, 4)


def test_frame_by_frame(network: Cut3r, golden: dict[str, np.ndarray]) -> None:
    state = network.start()
    for k in range(3):
        near(state.tokens, golden[f"seq.state_feat.{k}"])
        near(state.memory, golden[f"seq.mem.{k}"])
        view = network.encode(tensor(golden, f"images.{k}"))
        state, output = network.step(state, view, with_colours=True)
        answers_are_near(output, golden, f"seq.{k}")
    near(state.tokens, golden["seq.state_feat.3"])
    near(state.memory, golden["seq.mem.3"])
    assert "seq.0.rgb" in golden


def test_rounded_rotations(weights: Path, golden: dict[str, np.ndarray]) -> None:
    """As upstream computes on a GPU; what is not rounded is further away than the bound."""
    images = [tensor(golden, f"images.{k}") for k in range(3)]
    rounding = load_cut3r(weights, half_rotation=True)
    for k, output in enumerate(rounding.stream(images)):
        answers_are_near(output, golden, f"rope16.{k}")
    plain = next(load_cut3r(weights).stream(images))
    assert np.abs(plain.camera.numpy() - golden["rope16.0.camera_pose"]).max() > 10 * EXACT


def test_a_batch_of_portraits(network: Cut3r, golden: dict[str, np.ndarray]) -> None:
    (output,) = network.stream([tensor(golden, "portrait.image")])
    answers_are_near(output, golden, "portrait.0")


@pytest.mark.parametrize(("case", "reset"), [("noupdate1", False), ("reset1", True)])
def test_flags(network: Cut3r, golden: dict[str, np.ndarray], case: str, reset: bool) -> None:
    first, second, third = (network.encode(tensor(golden, f"images.{k}")) for k in range(3))
    state, _ = network.step(network.start(), first)
    state, _ = network.step(state, second, update=reset, reset=reset)
    near(state.tokens, golden[f"{case}.state_feat.2"])
    _, output = network.step(state, third)
    answers_are_near(output, golden, f"{case}.2")


# Ray maps


def test_a_ray_map_is_a_question(network: Cut3r, golden: dict[str, np.ndarray]) -> None:
    state = Cut3rState(
        tensor(golden, "seq.state_feat.3"), tensor(golden, "seq.mem.3"), is_fresh=False
    )
    asked = network.encode(ray_map=tensor(golden, "ray_map")[None])
    after, output = network.step(state, asked)
    answers_are_near(output, golden, "raystep.0")
    assert after is state


@pytest.mark.parametrize("case", ["raymix", "raymixrec"])
def test_images_and_ray_maps(network: Cut3r, golden: dict[str, np.ndarray], case: str) -> None:
    """As in training, where a view is told what it has not, and frame by frame, where it is not."""
    state, rays = network.start(), tensor(golden, "ray_map")[None]
    for k, (name, has_rays) in enumerate(VIEWS):
        view = network.encode(
            tensor(golden, name) if name else None,
            rays if has_rays else None,
            marks_absence=case == "raymix",
        )
        state, output = network.step(state, view)
        answers_are_near(output, golden, f"{case}.{k}")


def test_the_ray_map_of_a_camera(golden: dict[str, np.ndarray]) -> None:
    world_from_first, world_from_cam = (
        tensor(golden, f"ray_c2w_{name}") for name in ("first", "view")
    )
    first_from_cam = torch.linalg.inv(world_from_first) @ world_from_cam
    found = ray_map(first_from_cam, tensor(golden, "ray_K"), (48, 64))
    near(found, golden["ray_map"])
    batch = ray_map(first_from_cam.expand(2, 4, 4), tensor(golden, "ray_K"), (48, 64))
    assert torch.equal(batch[1], found)


# From raw outputs to values


def test_value_maps(numeric: dict[str, np.ndarray], network: Cut3r) -> None:
    raw, a = tensor(numeric, "head_raw"), network.architecture
    points, confidence = activate(raw, a.depth_mode, a.conf_mode)
    near(points, numeric["head_pts3d"])
    near(confidence, numeric["head_conf"])
    near(colours(raw[:, :3]), numeric["rgb_out"])


def test_cameras(numeric: dict[str, np.ndarray]) -> None:
    near(camera_encoding(tensor(numeric, "pose_raw")), numeric["pose_enc"])
    for name in ("pose_enc", "pose_enc_back"):
        near(camera_pose(tensor(numeric, name)), numeric["pose_c2w"])


def test_focal_lengths(numeric: dict[str, np.ndarray]) -> None:
    points = tensor(numeric, "focal_pts")
    n, height, width, _ = points.shape
    ones = torch.ones(n, height, width)
    straight = torch.tensor([[0.0, 0, 0, 1, 0, 0, 0]]).expand(n, -1)
    seen = see_view(Cut3rOutput(points, ones, points, ones, straight, None))
    for axis in (0, 1):
        near(seen.k[:, axis, axis], numeric["focal_weiszfeld"])
    near(seen.k[:, :2, 2], numeric["focal_pp"])


def test_positions(golden: dict[str, np.ndarray], numeric: dict[str, np.ndarray]) -> None:
    """The pose token's is (-1, -1): it is turned backwards."""
    device = torch.device("cpu")
    np.testing.assert_array_equal(state_positions(30, device), golden["state_pos"][0])
    np.testing.assert_array_equal(state_positions(768, device), numeric["state_pos_768"][0])
    places, tokens = tensor(numeric, "rope_pos_yx"), tensor(numeric, "rope_tokens_BNHD")
    assert places.min() == -1
    for k in range(len(tokens)):
        found = rotation(places[k], tokens.shape[-1], 100.0)(tokens[k].transpose(0, 1))
        near(found.transpose(0, 1), numeric["rope_out_BNHD"][k])


# The public checkpoint


def tensors() -> dict[str, Tensor]:
    """Every tensor of the public checkpoint, without numbers."""
    found = {}
    for pattern, shape in MANIFEST["tensors"].items():
        start, many, rest = pattern.partition("{0-")
        last, _, end = rest.partition("}")
        whole = range(int(last) + 1) if many else [""]
        found |= {f"{start}{i}{end}": torch.empty(shape, device="meta") for i in whole}
    return found


def checkpoint(**config: Any) -> Checkpoint:
    return Checkpoint(Path("cut3r.pth"), {**MANIFEST["config"], **config}, tensors())


def test_the_manifest_is_whole() -> None:
    found = tensors()
    assert len(found) == MANIFEST["n_keys"]
    own = (t.numel() for name, t in found.items() if name not in MANIFEST["aliases"])
    assert sum(own) == MANIFEST["n_parameters"] == 793_307_858


def test_the_network_has_exactly_these_tensors() -> None:
    network, state = fit_cut3r(checkpoint())
    assert network.architecture == Cut3rArchitecture()
    own = {name: t.shape for name, t in network.state_dict().items()}
    assert own == {name: t.shape for name, t in state.items()}
    unused = tensors().keys() - own.keys() - set(MANIFEST["aliases"])
    assert all(".refinenet4.resConfUnit1." in name for name in unused)
    left_out = sum(tensors()[name].numel() for name in unused)
    assert sum(p.numel() for p in network.parameters()) + left_out == MANIFEST["n_parameters"]


def test_without_a_config_it_is_the_public_one() -> None:
    nameless = Checkpoint(Path("cut3r.pth"), {}, tensors())
    assert fit_cut3r(nameless)[0].architecture == Cut3rArchitecture()


@pytest.mark.parametrize("without", ["pose_token", "dec_blocks_state.11.norm_y.weight"])
def test_one_tensor_less_is_noticed(without: str) -> None:
    full = checkpoint()
    del full.state[without]
    with pytest.raises(WeightsError, match=rf"1 tensor missing \({re.escape(without)}\)"):
        fit_cut3r(full)


def test_other_tensors_are_noticed() -> None:
    full = checkpoint()
    full.state["dec_blocks2.0.norm1.weight"] = torch.empty(768, device="meta")
    full.state["register_tokens.weight"] = torch.empty(700, 1024, device="meta")
    with pytest.raises(WeightsError) as caught:
        fit_cut3r(full)
    assert "1 tensor unknown (dec_blocks2.0.norm1.weight)" in str(caught.value)
    assert "(register_tokens.weight 700x1024 in place of 768x1024)" in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"state_size": 0}, "state_size is 0"),
        ({"ray_enc_depth": "2"}, "ray_enc_depth is '2'"),
        ({"state_dec_num_heads": 7}, "dec_embed_dim 768 with state_dec_num_heads 7"),
        ({"ray_enc_num_heads": 48}, "enc_embed_dim 1024 with ray_enc_num_heads 48"),
        ({"head_type": "linear"}, "head_type is 'linear', not 'dpt'"),
        ({"rgb_head": False}, "rgb_head is False, not True"),
        ({"state_pe": "1d"}, "state_pe is '1d', not '2d'"),
        ({"pose_mode": ["exp", 0, 1]}, "translations within bounds"),
        ({"pose_mode": ["linear", "-inf", "inf"]}, "pose_mode is 'linear'"),
    ],
)
def test_configs_of_other_networks(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(WeightsError, match=re.escape(words)):
        fit_cut3r(checkpoint(**changed))
