"""The pair network against the reference implementation, and the whole chain that ends in it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from golden_networks import CASES, FOLDER, NAMES, arrays, hub_folder, images, point_maps

from align3r.config import InputOptions, MotionOptions, NetworkOptions, Options, PriorOptions
from align3r.given import read_given
from align3r.models.loading import load_pair_network
from align3r.models.pair_network import PairNetwork, PairOutput
from align3r.models.rope import grid_positions, rotation
from align3r.prediction import see_depth, see_pairs

TOKENS = 1e-5
POINTS = 2e-5


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PairNetwork]:
    folder = tmp_path_factory.mktemp("hub")
    return {name: load_pair_network(hub_folder(name, folder / name)) for name in NAMES}


def run(network: PairNetwork, golden: dict[str, np.ndarray]) -> PairOutput:
    with torch.inference_mode():
        return network(images(golden), point_maps(golden))


def point_error(found: torch.Tensor, reference: np.ndarray) -> float:
    """The specification's measure: |p - p_ref| / max(1, |p_ref|)."""
    return float((np.abs(found.numpy() - reference) / np.maximum(1, np.abs(reference))).max())


@pytest.mark.parametrize("dim", [16, 32, 64])
def test_rotary_positions(dim: int) -> None:
    with np.load(FOLDER / "rope.npz") as golden:
        positions = torch.from_numpy(golden[f"d{dim}/positions"])[0]
        rotate = rotation(positions, dim, 100.0)
        found = rotate(torch.from_numpy(golden[f"d{dim}/tokens"]))
        np.testing.assert_allclose(found, golden[f"d{dim}/out"], atol=2e-6)
        grid = golden["grid_3x4_positions"]
    np.testing.assert_array_equal(grid_positions((3, 4), torch.device("cpu")), grid.reshape(-1, 2))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_points_and_confidences(networks: dict[str, PairNetwork], name: str, case: str) -> None:
    golden = arrays(name, case)
    output = run(networks[name], golden)
    for view in (0, 1):
        assert point_error(output.points[view], golden[f"pts3d{view + 1}"]) < POINTS
        np.testing.assert_allclose(output.confidence[view], golden[f"conf{view + 1}"], rtol=2e-5)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_tokens_on_the_way(networks: dict[str, PairNetwork], name: str, case: str) -> None:
    golden, network = arrays(name, case), networks[name]
    maps = point_maps(golden) or (None, None)
    with torch.inference_mode():
        first, second = (
            network.encode(image, m) for image, m in zip(images(golden), maps, strict=True)
        )
        sets = network.decode_tokens(network.enter(first, 0), network.enter(second, 1))
    for view, frame in enumerate((first, second), start=1):
        near(frame.tokens, golden[f"enc{view}"])
        for k in range(1, len(sets[view - 1])):
            if f"dec{view}_{k}" in golden:
                near(sets[view - 1][k], golden[f"dec{view}_{k}"])
    if case != "mixed":
        assert f"dec2_{network.architecture.dec_depth}" in golden


def near(found: torch.Tensor, reference: np.ndarray) -> None:
    assert np.abs(found.numpy() - reference).max() < TOKENS * np.abs(reference).max()


@pytest.mark.parametrize("case", ["landscape", "portrait", "wide"])
def test_point_map_branch(networks: dict[str, PairNetwork], case: str) -> None:
    golden, network = arrays("align3r_dpt", case), networks["align3r_dpt"]
    maps = point_maps(golden)
    assert maps is not None
    with torch.inference_mode():
        tokens = network.point_map_tokens(torch.cat(maps))
    assert len(tokens) == 5
    for k, found in enumerate(tokens):
        near(found, golden[f"pc_{k}"])


def test_an_untrained_branch_changes_nothing(tmp_path: Path) -> None:
    """DUSt3R's weights in Align3R's layout answer as DUSt3R, whatever the point map is."""
    folder = hub_folder("dust3r_dpt", tmp_path / "weights")
    plain, with_branch = load_pair_network(folder), load_pair_network(folder, with_point_maps=True)
    pair = images(arrays("dust3r_dpt", "landscape"))
    shape = (len(pair[0]), *pair[0].shape[2:], 3)
    maps = torch.rand(shape), torch.rand(shape)
    with torch.inference_mode():
        wanted, found = plain(pair), with_branch(pair, maps)
    torch.testing.assert_close(found.points, wanted.points, rtol=0, atol=0)


# What half precision costs on random weights, by the median over pixels of |p - p_ref| / |p_ref|;
# docs/benchmarks.md has the figures. The bounds are about twice what was measured.
HALF = {torch.bfloat16: 0.12, torch.float16: 0.02}


@pytest.mark.parametrize("dtype", HALF, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_half_precision_stays_near(tmp_path: Path, name: str, dtype: torch.dtype) -> None:
    network = load_pair_network(hub_folder(name, tmp_path / name))
    network.in_precision(blocks=dtype, heads=dtype)
    golden = arrays(name, "landscape")
    output = run(network, golden)
    for view in (0, 1):
        reference = golden[f"pts3d{view + 1}"]
        distance = np.linalg.norm(output.points[view].numpy() - reference, axis=-1)
        relative = np.median(distance / np.linalg.norm(reference, axis=-1))
        assert 0 < relative < HALF[dtype]
        assert output.points[view].dtype is torch.float32


@pytest.mark.parametrize("case", ["landscape", "portrait"])
def test_the_whole_chain(tmp_path: Path, case: str) -> None:
    """Image files and depth maps in, pairs out: reading, fitting, point maps, network, pairs.

    The fixtures keep point maps in float16 and not the depth they were made from. That depth is
    found again, up to its scale, from the form the point maps have, so the answers agree as far
    as float16 does.
    """
    golden = arrays("align3r_dpt", case)
    (tmp_path / "frames").mkdir()
    (tmp_path / "depth").mkdir()
    for k, view in enumerate((1, 2)):
        bgr = golden[f"img{view}"][0][..., ::-1]
        cv2.imwrite(str(tmp_path / "frames" / f"{k}.png"), bgr)
        np.save(tmp_path / "depth" / f"{k}.npy", depth_of(golden[f"pred_depth{view}"][0]))
    options = Options(
        model="align3r-depthpro",
        device="cpu",
        input=InputOptions(size=64),
        network=NetworkOptions(
            weights=str(hub_folder("align3r_dpt", tmp_path / "weights")), precision="fp32"
        ),
        prior=PriorOptions(dir=str(tmp_path / "depth")),
        motion=MotionOptions(enabled=False),
    )
    given = read_given(str(tmp_path / "frames"), options, fit="network", report=lambda *told: None)
    np.testing.assert_array_equal(given.frames.images[0], golden["img1"][0])
    mono = see_depth(given, options, lambda *told: None)
    assert mono is not None
    for view in (1, 2):
        wanted = golden[f"pred_depth{view}"][0].astype(np.float32)
        np.testing.assert_allclose(mono.point_maps[view - 1], wanted, atol=1.5e-3)
    found = see_pairs(given, mono, options, lambda *told: None)
    np.testing.assert_array_equal(found.edges, [[0, 1]])
    for view in (0, 1):
        reference = golden[f"pts3d{view + 1}"][0]
        assert point_error(found.points[0, view].float(), reference) < 5e-3
        np.testing.assert_allclose(
            found.confidence[0, view].float(), golden[f"conf{view + 1}"][0], rtol=5e-3
        )


def depth_of(point_map: np.ndarray) -> np.ndarray:
    """The depth, up to scale, of a point map whose axes were each brought to [0, 1].

    Z is known up to an offset; X = (u - w / 2) Z, brought to [0, 1], tells the offset.
    """
    x, y, z = np.moveaxis(point_map.astype(np.float64), -1, 0)
    v, u = np.mgrid[: z.shape[0], : z.shape[1]]
    offsets = np.linspace(0.005, 0.3, 2951)

    def miss(offset: float) -> float:
        total = 0.0
        for axis, seen in ((u - z.shape[1] / 2, x), (v - z.shape[0] / 2, y)):
            swept = axis * (z + offset)
            total += np.square((swept - swept.min()) / np.ptp(swept) - seen).sum()
        return total

    return (z + min(offsets, key=miss)).astype(np.float32)
