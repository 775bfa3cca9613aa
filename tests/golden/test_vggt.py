"""VGGT against the reference implementation, on random weights, and against the public tensors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_multiview import TINY_VGGT
from torch import Tensor

from align3r.errors import InputError, WeightsError
from align3r.models.catalogue import CATALOGUE
from align3r.models.checkpoint import Checkpoint
from align3r.models.dinov2 import normalized
from align3r.models.rope import rotation
from align3r.models.vggt import dense_head
from align3r.models.vggt.dense_head import (
    depth_and_confidence,
    place_embedding,
    points_and_confidence,
)
from align3r.models.vggt.framing import Framing, Size, cropped, padded
from align3r.models.vggt.loading import fit_vggt, load_vggt
from align3r.models.vggt.network import Vggt, VggtAnswer
from align3r.models.vggt.pose_encoding import decode_cameras, encode_cameras
from align3r.models.vggt.scene import moved, see_scene, unprojected
from align3r.models.view_plane import view_plane

FOLDER = Path(__file__).parent / "multiview"
CASES = ["sq", "rect", "single"]
EXACT = 1e-5


@pytest.fixture(scope="module")
def network() -> Vggt:
    return load_vggt(FOLDER / "vggt_tiny.safetensors", TINY_VGGT)


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    return read("vggt_tiny_io.npz")


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def read(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / name) as file:
        return dict(file)


def images(golden: dict[str, np.ndarray], case: str) -> Tensor:
    """`single` is the first frame of `sq`."""
    found = torch.from_numpy(golden["sq.images" if case == "single" else f"{case}.images"])
    return found[:, :1] if case == "single" else found


def near(found: Tensor, reference: np.ndarray, atol: float = EXACT) -> None:
    np.testing.assert_allclose(found, reference, atol=atol, rtol=EXACT)


def size_of(encoding: dict[str, np.ndarray], key: str) -> tuple[int, int]:
    height, width = encoding[key].tolist()
    return height, width


@pytest.mark.parametrize("case", ["sq", "rect"])
def test_tokens_on_the_way(network: Vggt, golden: dict[str, np.ndarray], case: str) -> None:
    frames = images(golden, case)
    encoded = network.aggregator.patch_embed(normalized(frames).flatten(0, 1))
    near(encoded[0].patches, golden[f"{case}.dino_patch_tokens"])
    tokens = network.aggregator(frames)
    near(tokens.levels[0], golden[f"{case}.agg_tokens_0"])
    near(tokens.levels[-1], golden[f"{case}.agg_tokens_last"])
    assert tokens.patches[0].shape[2] == tokens.grid[0] * tokens.grid[1]


@pytest.mark.parametrize("case", ["sq", "rect"])
def test_every_step_of_the_camera_head(
    network: Vggt, golden: dict[str, np.ndarray], case: str
) -> None:
    steps = network.camera_head(network.aggregator(images(golden, case)).camera)
    assert len(steps) == 4
    for k, step in enumerate(steps):
        near(step, golden[f"{case}.pose_enc_iter{k}"])


@pytest.mark.parametrize("case", CASES)
def test_answers(network: Vggt, golden: dict[str, np.ndarray], case: str) -> None:
    check_answer(network(images(golden, case)), golden, case)


def check_answer(answer: VggtAnswer, golden: dict[str, np.ndarray], case: str) -> None:
    near(answer.pose_encoding, golden[f"{case}.pose_enc"])
    near(answer.depth, golden[f"{case}.depth"][..., 0])
    near(answer.depth_confidence, golden[f"{case}.depth_conf"])
    near(answer.points, golden[f"{case}.world_points"])
    near(answer.points_confidence, golden[f"{case}.world_points_conf"])


@pytest.mark.parametrize("at_once", [1, 2])
def test_memory_is_bounded_and_nothing_else_changes(
    network: Vggt, golden: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(dense_head, "FRAMES_AT_ONCE", at_once)
    check_answer(network(images(golden, "sq")), golden, "sq")


@pytest.mark.parametrize("case", ["sq", "rect"])
def test_cameras_of_the_network(golden: dict[str, np.ndarray], case: str) -> None:
    size = images(golden, case).shape[-2], images(golden, case).shape[-1]
    cam_from_world, k = decode_cameras(torch.from_numpy(golden[f"{case}.pose_enc"]), size)
    near(cam_from_world[..., :3, :], golden[f"{case}.extrinsic"])
    near(k, golden[f"{case}.intrinsic"])


def test_encodings_of_cameras_both_ways() -> None:
    known = read("vggt_pose_encoding.npz")
    tensors = {name: torch.from_numpy(array) for name, array in known.items()}
    size = size_of(known, "image_size_hw")
    found = encode_cameras(tensors["extrinsics"], tensors["intrinsics"], size)
    near(found, known["pose_encoding"], 1e-6)
    near(found[..., 3:7], known["quat_xyzw"], 1e-6)
    cam_from_world, k = decode_cameras(found, size)
    near(cam_from_world[..., :3, :], known["extrinsics_rt"], 1e-6)
    near(k, known["intrinsics_rt"])


def test_encodings_with_quaternions_of_any_length() -> None:
    known = read("vggt_pose_encoding.npz")
    encoding = torch.from_numpy(known["raw_pose_encoding"])
    assert not np.allclose(encoding[..., 3:7].norm(dim=-1), 1, atol=0.1)
    cam_from_world, k = decode_cameras(encoding, size_of(known, "raw_image_size_hw"))
    near(cam_from_world[..., :3, :], known["raw_extrinsics"], 1e-6)
    near(k, known["raw_intrinsics"])


def test_value_maps() -> None:
    known = read("vggt_pose_encoding.npz")
    raw = torch.from_numpy(known["act_in"]).permute(0, 2, 3, 1)
    points, confidence = points_and_confidence(raw)
    near(points, known["act_invlog_pts"])
    near(confidence, known["act_expp1_conf"])
    depth, _ = depth_and_confidence(raw)
    near(depth, known["act_exp_depth"][..., 0])


def test_points_of_depth() -> None:
    known = {n: torch.from_numpy(a) for n, a in read("vggt_pose_encoding.npz").items()}
    in_camera = unprojected(known["up_depth"][..., 0], known["up_intrinsics"])
    near(in_camera[0], known["up_cam0"].numpy())
    rotation, translation = known["up_extrinsics"].split([3, 1], -1)
    world_from_cam = torch.cat([rotation.mT, -rotation.mT @ translation], -1)
    near(moved(world_from_cam, in_camera), known["up_world"].numpy())


def test_places() -> None:
    known = read("vggt_position.npz")
    tokens, positions = (torch.from_numpy(known[n]) for n in ("rope_tokens", "rope_pos_yx"))
    rotate = rotation(positions[0], tokens.shape[-1], TINY_VGGT.rope_base)
    near(rotate(tokens)[:1], known["rope_out"][:1], 2e-6)
    aspect = float(known["aspect_ratio"])
    near(view_plane((3, 5), aspect, like=torch.zeros(0)), known["uv_grid_w5_h3"], 1e-6)
    embedding = place_embedding((3, 5), aspect, like=torch.zeros(1, 16))
    near(embedding.permute(1, 2, 0), known["uv_embed16"], 1e-6)


def test_the_scene_is_seen_from_the_first_camera(
    network: Vggt, golden: dict[str, np.ndarray]
) -> None:
    for case in ("sq", "rect"):
        scene = see_scene(network, images(golden, case))
        near(scene.world_from_cam[:, 0], np.broadcast_to(np.eye(4), (len(scene.depth), 4, 4)), 1e-6)
        near(scene.k, golden[f"{case}.intrinsic"])
        near(scene.depth, golden[f"{case}.depth"][..., 0])
        near(scene.confidence, golden[f"{case}.depth_conf"])
        first, second = (rigid(golden[f"{case}.extrinsic"][:, k]) for k in (0, 1))
        near(scene.world_from_cam[:, 1], (first @ second.inverse()).numpy())
        # The reference's points are in the network's world, where the first camera is not quite 1.
        upstream = torch.from_numpy(golden[f"{case}.unprojected_b0"])
        near(scene.points[0], moved(first[0], upstream).numpy(), 3e-5)


def rigid(upper: np.ndarray) -> Tensor:
    """(B, 4, 4) of (B, 3, 4)."""
    last = np.broadcast_to(np.float32([0, 0, 0, 1]), (len(upper), 1, 4))
    return torch.from_numpy(np.concatenate([upper, last], 1))


def test_points_of_the_head_are_in_the_same_world(
    network: Vggt, golden: dict[str, np.ndarray]
) -> None:
    scene = see_scene(network, images(golden, "rect"), points_from="head")
    upstream = torch.from_numpy(golden["rect.world_points"])
    first = rigid(golden["rect.extrinsic"][:, 0])[:, None]
    near(scene.points, moved(first, upstream).numpy())
    near(scene.confidence, golden["rect.world_points_conf"])


def test_a_point_is_seen_where_its_pixel_is(network: Vggt, golden: dict[str, np.ndarray]) -> None:
    scene = see_scene(network, images(golden, "rect"))
    back = moved(scene.world_from_cam.inverse(), scene.points)
    pixels = back @ scene.k[:, :, None].mT
    u, v = (pixels[..., i] / pixels[..., 2] for i in (0, 1))
    height, width = scene.depth.shape[-2:]
    near(u, np.broadcast_to(np.arange(width), u.shape), 1e-3)
    near(v, np.broadcast_to(np.arange(height)[:, None], v.shape), 1e-3)


def test_only_the_first_frame_is_another(network: Vggt, golden: dict[str, np.ndarray]) -> None:
    frames = images(golden, "sq")
    order = [0, 2, 1]
    plain, swapped = network(frames), network(frames[:, order])
    near(swapped.pose_encoding, plain.pose_encoding[:, order].numpy())
    near(swapped.points, plain.points[:, order].numpy())
    other_first = network(frames[:, [1, 0, 2]])
    assert (other_first.depth[:, 1] - plain.depth[:, 0]).abs().max() > 1e-3


def test_scenes_of_a_batch_do_not_see_each_other(
    network: Vggt, golden: dict[str, np.ndarray]
) -> None:
    frames = images(golden, "rect")
    near(network(frames[1:]).points, golden["rect.world_points"][1:])


def test_half_precision_stays_near(golden: dict[str, np.ndarray]) -> None:
    """The matrices of the trunk alone; bounds are about twice what was measured."""
    network = load_vggt(FOLDER / "vggt_tiny.safetensors", TINY_VGGT)
    network.aggregator.in_precision(torch.bfloat16)
    answer = network(images(golden, "rect"))
    assert answer.depth.dtype is answer.pose_encoding.dtype is torch.float32
    relative = np.abs(answer.depth.numpy() / golden["rect.depth"][..., 0] - 1)
    assert 0 < relative.max() < 0.006
    near(answer.pose_encoding, golden["rect.pose_enc"], 0.04)


@pytest.mark.parametrize("size", [(57, 56), (56, 55)])
def test_sizes_without_whole_patches_are_refused(network: Vggt, size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="no whole patches of 14"):
        network(torch.zeros(1, 1, 3, *size))


def test_a_pt_file_is_the_same(tmp_path: Path, golden: dict[str, np.ndarray]) -> None:
    torch.save(load_file(FOLDER / "vggt_tiny.safetensors"), tmp_path / "model.pt")
    check_answer(
        load_vggt(tmp_path / "model.pt", TINY_VGGT)(images(golden, "single")), golden, "single"
    )


PUBLIC = json.loads((FOLDER / "vggt_1b_tensors.json").read_text())


def public_checkpoint() -> Checkpoint:
    """Every tensor of VGGT-1B, without numbers; `blocks.{0-23}.` stands for 24 of one shape."""
    state = {}
    for pattern, shape in PUBLIC["tensors"].items():
        span = re.search(r"\{0-(\d+)\}", pattern)
        names = [pattern]
        if span:
            names = [pattern.replace(span[0], str(i)) for i in range(int(span[1]) + 1)]
        state |= {name: torch.empty(shape, device="meta") for name in names}
    return Checkpoint(Path("model.safetensors"), {}, state)


def test_the_network_has_exactly_the_public_tensors() -> None:
    checkpoint = public_checkpoint()
    assert len(checkpoint.state) == PUBLIC["n_keys"] == 1797
    numbers = sum(tensor.numel() for tensor in checkpoint.state.values())
    assert numbers == PUBLIC["n_parameters"] == CATALOGUE["vggt"].parameters == 1_256_537_516
    network, state = fit_vggt(checkpoint)
    own = {name: tensor.shape for name, tensor in network.state_dict().items()}
    assert own == {name: tensor.shape for name, tensor in state.items()}
    unread = checkpoint.state.keys() - own.keys()
    assert unread and all(name.startswith("track_head.") for name in unread)
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(1_190.6e6, rel=1e-4)


def test_without_the_head_for_tracks_it_is_the_same_network() -> None:
    state = {n: t for n, t in public_checkpoint().state.items() if not n.startswith("track_head.")}
    fit_vggt(Checkpoint(Path("model.safetensors"), {}, state))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"camera_head.trunk_norm.bias": None}, r"1 tensor missing \(camera_head.trunk_norm.bias"),
        ({"depth_head.extra": (3,)}, r"1 tensor unknown \(depth_head.extra\)"),
        ({"camera_head.empty_pose_tokens": (1, 1, 7)}, "1x1x7 in place of 1x1x9"),
    ],
)
def test_other_tensors_are_named(change: dict[str, tuple[int, ...] | None], says: str) -> None:
    checkpoint = public_checkpoint()
    for name, shape in change.items():
        checkpoint.state.pop(name, None)
        if shape:
            checkpoint.state[name] = torch.empty(shape, device="meta")
    with pytest.raises(WeightsError, match=says):
        fit_vggt(checkpoint)


SIZES = json.loads((FOLDER / "vggt_preprocess_sizes.json").read_text())


@pytest.mark.parametrize("case", SIZES, ids=lambda case: "{}x{}".format(*case["input_wh"]))
def test_frames_have_the_sizes_of_the_reference(case: dict[str, list[int]]) -> None:
    source = case["input_wh"][0], case["input_wh"][1]
    crop, pad = cropped(source), padded(source)
    assert list(crop.resized) == case["crop_resize_wh"]
    assert list(crop.size) == case["crop_final_wh"]
    assert crop.offset == (0, -case["crop_start_y"])
    assert list(pad.resized) == case["pad_resize_wh"]
    assert pad.size == (518, 518)
    assert pad.offset == (case["pad_left"], case["pad_top"])


@pytest.mark.parametrize("framed", [cropped, padded])
@pytest.mark.parametrize("source", [(96, 54), (54, 96), (70, 70)])
def test_a_thing_is_found_again_in_the_source(
    framed: Callable[[Size], Framing], source: tuple[int, int]
) -> None:
    """A bright block: seen through the frame's K and the source's K, it is in one direction."""
    image = np.zeros((source[1], source[0], 3), np.uint8)
    top, left = source[1] // 2 - 9, source[0] // 2 + 4
    image[top : top + 8, left : left + 12] = 200
    framing = framed(source)
    frame = framing.apply(image)
    assert frame.shape == (framing.size[1], framing.size[0], 3)
    k = np.array([[400.0, 0, 250], [0, 410, 240], [0, 0, 1]])
    directions = [
        np.linalg.inv(matrix) @ middle_of_block(picture)
        for picture, matrix in ((frame, k), (image, framing.source_intrinsics(k)))
    ]
    np.testing.assert_allclose(*directions, atol=0.5 / 400)


def middle_of_block(picture: np.ndarray) -> np.ndarray:
    """Column, row and 1 of the middle of what is neither black nor white."""
    rows, columns = np.nonzero((picture[..., 0] > 100) & (picture[..., 0] < 250))
    return np.array([columns.mean(), rows.mean(), 1.0])


def test_what_is_padded_is_white_and_what_fits_is_kept() -> None:
    flat = padded((70, 35)).apply(np.zeros((35, 70, 3), np.uint8))
    assert (flat[:133] == 255).all() and (flat[-133:] == 255).all() and not flat[133:-133].any()
    noise = np.random.default_rng(0).integers(0, 256, (392, 518, 3), np.uint8)
    np.testing.assert_array_equal(cropped((518, 392)).apply(noise), noise)


@pytest.mark.parametrize(
    ("framed", "source"), [(cropped, (1000, 13)), (padded, (1000, 13)), (padded, (13, 1000))]
)
def test_slivers_are_refused(framed: Callable[[Size], Framing], source: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="1000"):
        framed(source)
