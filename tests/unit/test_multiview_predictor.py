"""Networks that see all frames as pair predictors: who tells the truth is understood exactly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import roma
import torch
from hypothesis import given
from hypothesis import strategies as st
from optim_problem import World, depth_error, make_world, path_error
from torch import Tensor

from align3r import planning
from align3r.config import AlignOptions, InputOptions, ModelName, NetworkOptions, Options
from align3r.errors import InputError, NoRoomError, SolveError
from align3r.given import Given
from align3r.io.fitting import FITS
from align3r.io.storage import MappedFiles, Storage
from align3r.models import transformer
from align3r.models.cut3r.values import Cut3rOutput
from align3r.models.vggt.framing import cropped
from align3r.models.vggt.scene import Scene, unprojected
from align3r.optim import align
from align3r.pairing import MemoryPlan, Room, plan_memory, require_room
from align3r.pairwise.choice import unread_options
from align3r.pairwise.multiview import vggt
from align3r.pairwise.multiview.cut3r import Cut3rLook
from align3r.pairwise.multiview.predictor import MultiViewPredictor
from align3r.pairwise.multiview.vggt import PASS_BYTES, VggtLook, pass_bytes
from align3r.planning import plan_run
from align3r.types import Frames, KnownCameras, PairPredictions

CPU = torch.device("cpu")
HALF = 6e-4
"""Relative error of float16, and a little."""


def film(world: World) -> Frames:
    n, height, width = world.depth.shape
    images = np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    return Frames(images, np.arange(n) / 10, np.arange(n), (width, height), "noise")


def intrinsics(world: World, zoom: float) -> Tensor:
    """(N, 3, 3) of `make_world`."""
    n, height, width = world.depth.shape
    k = torch.zeros(n, 3, 3)
    k[:, 0, 0] = k[:, 1, 1] = world.focal * (1 + zoom) ** torch.arange(n)
    k[:, 0, 2], k[:, 1, 2], k[:, 2, 2] = (width - 1) / 2, (height - 1) / 2, 1
    return k


def truth(world: World, zoom: float = 0.0) -> Scene:
    """What a VGGT would say of a world; of another origin than the first camera."""
    turn = torch.from_numpy(elsewhere() @ world.world_from_cam).float()[None]
    depth = torch.from_numpy(world.depth).float()[None]
    blank = torch.zeros(*depth.shape, 3)
    confidence = 2 + torch.arange(depth.numel()).reshape(depth.shape) % 7
    return Scene(turn, intrinsics(world, zoom)[None], depth, blank, confidence.float())


def elsewhere() -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = roma.rotvec_to_rotmat(torch.tensor([0.3, -0.5, 0.2])).numpy()
    pose[:3, 3] = (1.0, -2.0, 0.5)
    return pose


class TrueCut3r:
    """Streams the truth, frame by frame, and counts what it is given."""

    def __init__(self, world: World, zoom: float = 0.0) -> None:
        self._scene = truth(world, zoom)
        self.sizes: list[tuple[int, ...]] = []

    def stream(self, images: Iterable[Tensor], *, with_points: bool) -> Iterator[Cut3rOutput]:
        assert not with_points, "nobody reads them"
        scene = self._scene
        for frame, image in enumerate(images):
            assert -1 <= image.min() < -0.9 and 0.9 < image.max() <= 1
            self.sizes.append(tuple(image.shape))
            pose = scene.world_from_cam[0, frame]
            quat = roma.rotmat_to_unitquat(pose[:3, :3]).roll(1, -1)
            depth = scene.depth[:, frame]
            confidence = scene.confidence[:, frame]
            yield Cut3rOutput(
                own_points=unprojected(depth, scene.k[:, frame]),
                own_confidence=confidence,
                points=None,
                confidence=None,
                camera=torch.cat([pose[:3, 3], quat])[None],
                colours=None,
            )


def looking(
    kind: str, world: World, monkeypatch: pytest.MonkeyPatch, zoom: float = 0.0
) -> MultiViewPredictor:
    """A predictor of a network that tells the truth."""
    if kind == "cut3r":
        network: Any = TrueCut3r(world, zoom)
        return MultiViewPredictor("cut3r", Cut3rLook(network, CPU))

    def see_scene(network: object, images: Tensor) -> Scene:
        n, height, width = world.depth.shape
        assert images.shape == (1, n, 3, height, width)
        assert 0 <= images.min() < 0.05 and 0.95 < images.max() <= 1
        return truth(world, zoom)

    monkeypatch.setattr(vggt, "see_scene", see_scene)
    nobody: Any = None
    return MultiViewPredictor("vggt", VggtLook(nobody, CPU))


@pytest.fixture(params=["vggt", "cut3r"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


EDGES = np.array([[0, 1], [1, 0], [0, 3], [2, 1], [3, 2], [2, 2]])


def pair_truth(world: World, zoom: float, edges: np.ndarray) -> np.ndarray:
    """(E, 2, h, w, 3), by the textbook."""
    _, height, width = world.depth.shape
    v, u = np.mgrid[:height, :width]
    found = []
    for i, j in edges.tolist():
        views = []
        for frame in (i, j):
            focal = world.focal * (1 + zoom) ** frame
            rays = np.stack(
                [(u - (width - 1) / 2) / focal, (v - (height - 1) / 2) / focal, np.ones(u.shape)],
                -1,
            )
            pose = np.linalg.inv(world.world_from_cam[i]) @ world.world_from_cam[frame]
            views.append(rays * world.depth[frame][..., None] @ pose[:3, :3].T + pose[:3, 3])
        found.append(views)
    return np.array(found)


@pytest.mark.parametrize("in_files", [False, True])
def test_points_of_pairs_are_the_true_ones(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, in_files: bool
) -> None:
    world = make_world(4, zoom=0.1)
    told: list[tuple[str, int, int]] = []
    storage = None
    if in_files:
        storage = Storage(MappedFiles(tmp_path), frozenset({"survey", "predictions"}))
    found = looking(kind, world, monkeypatch, zoom=0.1).predict(
        film(world),
        EDGES,
        known=KnownCameras(),
        progress=lambda *words: told.append(words),
        storage=storage,
    )
    assert found.points.dtype == found.confidence.dtype == torch.float16
    np.testing.assert_allclose(
        found.points.float(), pair_truth(world, 0.1, EDGES), rtol=HALF, atol=HALF
    )
    np.testing.assert_array_equal(found.edges, EDGES)
    confidence = truth(world).confidence[0]
    for k, (i, j) in enumerate(EDGES):
        assert torch.equal(found.confidence[k].float(), confidence[[i, j]])
    assert ("frames", 4, 4) in told and told[-1] == ("pairs", 6, 6)
    names = {path.stem for path in tmp_path.iterdir()}
    assert ("survey.points" in names) == ("predictions.points" in names) == in_files


def test_the_aligner_finds_the_true_scene(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(5, zoom=0.05, step=0.3)
    edges = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [0, 2], [1, 3], [2, 4], [4, 0]])
    found = looking(kind, world, monkeypatch, zoom=0.05).predict(
        film(world), edges, known=KnownCameras()
    )
    # The fixture's own principal point; CUT3R does not say one of its own.
    found = replace(found, principal_point=world.predictions.principal_point)
    options = AlignOptions(pixels=0, focal="per-frame", smooth_weight=0)
    solution = align(found, n_frames=5, options=options)
    assert path_error(world, solution.world_from_cam) < 2e-3
    assert depth_error(world, solution.depth) < 1e-3
    np.testing.assert_allclose(solution.focal, world.focal * 1.05 ** np.arange(5), rtol=1e-3)


def test_the_principal_point_is_the_networks(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(2)
    found = look_once(kind, world, monkeypatch)
    height, width = world.depth.shape[1:]
    own = ((width - 1) / 2, (height - 1) / 2)
    assert found.principal_point == (own if kind == "vggt" else (width // 2, height // 2))


def look_once(kind: str, world: World, monkeypatch: pytest.MonkeyPatch) -> PairPredictions:
    return looking(kind, world, monkeypatch).predict(
        film(world), np.array([[0, 1]]), known=KnownCameras()
    )


def test_vggt_sees_square_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two focal lengths that differ, as in a frame that was stretched, make no other points."""
    world = make_world(2)
    plain = look_once("vggt", world, monkeypatch).points
    scene = truth(world)
    scene.k[..., 1, 1] *= 1.02
    monkeypatch.setattr(vggt, "see_scene", lambda *_: scene)
    nobody: Any = None
    found = MultiViewPredictor("vggt", VggtLook(nobody, CPU)).predict(
        film(world), np.array([[0, 1]]), known=KnownCameras()
    )
    assert torch.equal(found.points, plain)


@pytest.mark.parametrize("where", ["depth", "confidence", "world_from_cam"])
def test_what_is_not_a_number_is_refused(monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    world = make_world(3)
    scene = truth(world)
    getattr(scene, where)[0, 2, 1, 1] = torch.nan
    monkeypatch.setattr(vggt, "see_scene", lambda *_: scene)
    nobody: Any = None
    with pytest.raises(SolveError, match=r"answers \d+ values that are not numbers for frame 2"):
        MultiViewPredictor("vggt", VggtLook(nobody, CPU)).predict(
            film(world), np.array([[0, 1]]), known=KnownCameras()
        )


def test_points_at_infinity_stay_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(2)
    scene = truth(world)
    scene.depth[0, 0, 3, 4] = torch.inf
    scene.k[0, 1, 0, 0] = torch.inf
    monkeypatch.setattr(vggt, "see_scene", lambda *_: scene)
    nobody: Any = None
    found = MultiViewPredictor("vggt", VggtLook(nobody, CPU)).predict(
        film(world), np.array([[0, 1], [1, 0]]), known=KnownCameras()
    )
    assert found.points.isfinite().all()


def test_frames_that_do_not_fit_are_refused_before_the_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    free = 40_000_000_000
    monkeypatch.setattr(vggt, "free_memory_bytes", lambda: free)
    monkeypatch.setattr(vggt, "see_scene", lambda *_: pytest.fail("it was computed"))
    n, size = 4000, (518, 294)
    nobody: Any = None

    class Many:
        """Frames that nobody looks at."""

        def __init__(self) -> None:
            self.size = size

        def __len__(self) -> int:
            return n

    many: Any = Many()
    with pytest.raises(NoRoomError, match="4000 frames of 518x294 in one pass need") as caught:
        MultiViewPredictor("vggt", VggtLook(nobody, CPU)).predict(
            many, np.array([[0, 1]]), known=KnownCameras()
        )
    words = caught.value.hint.split()
    side = int(words[words.index("--input.size") + 1])
    most = int(words[words.index("--input.max-frames") + 1])
    assert "cut3r" in caught.value.hint
    assert pass_bytes(most, size) <= free < pass_bytes(most + 1, size)
    smaller = (side, round(side * size[1] / size[0]))
    assert pass_bytes(n, smaller) <= 1.01 * free


def test_cut3r_is_given_one_frame_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(3)
    network: Any = TrueCut3r(world)
    MultiViewPredictor("cut3r", Cut3rLook(network, CPU)).predict(
        film(world), np.array([[0, 1]]), known=KnownCameras()
    )
    assert network.sizes == [(1, 3, *world.depth.shape[1:])] * 3


def test_options_of_networks_that_go_pair_by_pair_have_no_say() -> None:
    odd = NetworkOptions(precision="fp16", cache_gb=1.0, batch=2, compile=True, adapter="a")
    for model in ("vggt", "cut3r"):
        assert unread_options(Options(model=model, network=odd)) == [
            "--network.batch",
            "--network.cache-gb",
            "--network.compile",
        ]


SIDES = st.integers(32, 4000)


@given(SIDES, SIDES, st.integers(16, 1024))
def test_frames_for_vggt_are_whole_patches(w: int, h: int, long: int) -> None:
    try:
        fit = FITS["vggt"]((w, h), long)
    except InputError as error:
        enough = int(error.hint.split()[2])
        assert long < enough
        assert min(FITS["vggt"]((w, h), enough).size) >= 32
        return
    assert min(fit.size) >= 32
    assert all(side % 14 == 0 for side in fit.size)
    assert abs(max(fit.size) - long) <= 7
    for side, exact in zip(fit.size, (w, h), strict=True):
        assert abs(side - exact * max(fit.size) / max(w, h)) <= 7


@pytest.mark.parametrize("size", [(192, 108), (64, 48), (50, 50), (700, 394), (518, 294)])
def test_frames_for_vggt_are_those_of_its_authors(size: tuple[int, int]) -> None:
    """Of images that are no higher than wide, at the default size, the network sees the same."""
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    fit = FITS["vggt"](size, InputOptions().size)
    np.testing.assert_array_equal(fit.apply(image), cropped(size).apply(image))
    assert fit.apply(image).shape == (fit.size[1], fit.size[0], 3)


@pytest.mark.parametrize(("model", "device"), [("vggt", "cpu"), ("vggt", "cuda"), ("cut3r", "cpu")])
def test_the_plan_counts_what_is_seen(
    model: ModelName, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "resolve_device", lambda name: torch.device(name))
    world = make_world(5)
    nothing = np.zeros(0, np.int64)
    given = Given("noise", film(world), KnownCameras(), None, EDGES, nothing)
    enough = Room(memory=10**12, disk=10**12, machine=10**12)
    options = Options(model=model, device=device)  # type: ignore[arg-type]
    plan = plan_run(given, options, enough, staged=False)
    assert plan.encoded == 0
    width, height = given.frames.size
    assert plan.survey == 5 * width * height * 4 * np.float32().nbytes
    at_once = (model, device) == ("vggt", "cpu")
    assert plan.scene == (pass_bytes(5, (width, height)) if at_once else 0)


def test_a_pass_that_does_not_fit_is_refused_by_the_plan() -> None:
    every = PASS_BYTES[0] * 518 * 294
    plan = MemoryPlan(n_frames=200, n_pairs=900, size=(518, 294), pass_bytes=PASS_BYTES)
    short = Room(memory=150 * every, disk=10**12, machine=10**12)
    with pytest.raises(NoRoomError) as caught:
        require_room(plan_memory(plan, short), short)
    words = caught.value.hint.replace(",", "").split()
    most = int(words[words.index("--input.max-frames") + 1])
    fewer = replace(plan, n_frames=most, n_pairs=900 * (most - 1) // 200)
    require_room(plan_memory(fewer, short), short)
    assert 20 < most < 100


@pytest.mark.parametrize("flow", [False, True])
def test_without_refinement_the_scene_is_the_networks(
    kind: str, monkeypatch: pytest.MonkeyPatch, flow: bool
) -> None:
    world = make_world(5, step=0.3)
    edges = np.array([[0, 1], [1, 2], [2, 3], [3, 4], [0, 2], [1, 3], [2, 4], [4, 0]])
    found = looking(kind, world, monkeypatch).predict(film(world), edges, known=KnownCameras())
    found = replace(found, principal_point=world.predictions.principal_point)
    options = AlignOptions(pixels=0, solver="none", flow_weight=0.1 if flow else 0.0)
    flows = world.flows if flow else None
    solution = align(found, n_frames=5, options=options, flows=flows)
    assert path_error(world, solution.world_from_cam) < 3e-4
    assert depth_error(world, solution.depth) < 3e-4
    np.testing.assert_allclose(solution.focal, world.focal, rtol=1e-5)


def test_attention_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    q, k, v = torch.randn(3, 2, 4, 50, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    whole = transformer.attend(q, k, v)
    monkeypatch.setattr(transformer, "SCORES_AT_ONCE", 7 * 50)
    assert torch.allclose(transformer.attend(q, k, v).float(), whole.float(), atol=1e-2)
