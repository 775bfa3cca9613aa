"""When a scene is solved again, from where, and with which masks."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from motion_world import SHAPE, World, world
from optim_problem import make_world

from align3r import prediction, solving
from align3r.config import AlignOptions, MotionOptions, Options
from align3r.given import Given
from align3r.io.cache import StageCache
from align3r.io.storage import Storage
from align3r.types import Frames, KnownCameras, MonoDepth, PairPredictions, Solution

OPTIONS = Options(model="dust3r", device="cpu")


class Solves:
    """Stands in for the aligner and notes what it is given."""

    def __init__(self, found: Solution) -> None:
        self.found, self.given = found, list[dict[str, Any]]()

    def __call__(self, predictions: Any, **words: Any) -> Solution:
        self.given.append(words)
        return replace(self.found, losses={"total": float(len(self.given))})


@pytest.fixture
def w() -> World:
    return world()


@pytest.fixture
def solves(w: World, monkeypatch: pytest.MonkeyPatch) -> Solves:
    found = Solves(w.solution)
    monkeypatch.setattr(solving, "align", found)
    return found


def given_of(w: World, masks: np.ndarray | None = None) -> Given:
    n = len(w.moving)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (n, *SHAPE, 3)).astype(np.uint8)
    frames = Frames(images, np.arange(n) / 30, np.arange(n), SHAPE[::-1], "a walk")
    return Given(
        source="a walk",
        frames=frames,
        edges=w.flows.edges,
        known=KnownCameras(),
        masks=masks,
        keyframes=np.arange(0, n, 10),
    )


def solved(
    w: World,
    *,
    first: np.ndarray,
    options: Options = OPTIONS,
    masks: np.ndarray | None = None,
    cache: StageCache | None = None,
) -> tuple[Solution, np.ndarray | None]:
    return solving.solve(
        replace(w.predictions, flows=w.flows, moving=first),
        given_of(w, masks),
        options,
        mono=None,
        report=lambda stage, done, total: None,
        cache=cache,
        storage=Storage(),
    )


@pytest.fixture
def found_again(w: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Solved cameras show exactly what moves, whatever the images are."""
    monkeypatch.setattr(prediction, "solved_masks", lambda *args, **words: w.moving)


@pytest.mark.usefixtures("found_again")
def test_a_first_guess_is_found_again_and_the_scene_solved_from_its_first_solution(
    w: World, solves: Solves, caplog: pytest.LogCaptureFixture
) -> None:
    nothing = np.zeros_like(w.moving)
    with caplog.at_level(logging.INFO, "align3r"):
        found, moving = solved(w, first=nothing)
    first, second = solves.given
    assert first["start"] is None and second["start"].losses == {"total": 1.0}
    assert found.losses == {"total": 2.0}
    np.testing.assert_array_equal(first["static"], ~nothing)
    np.testing.assert_array_equal(second["static"], ~w.moving)
    assert moving is w.moving
    assert f"{100 * w.moving.mean():.2f} % of the pixels changed" in caplog.text


@pytest.mark.usefixtures("found_again")
def test_masks_that_hardly_change_are_taken_without_a_second_solve(
    w: World, solves: Solves
) -> None:
    almost = w.moving.copy()
    almost[0, 0, 0] ^= True
    found, moving = solved(w, first=almost)
    assert len(solves.given) == 1 and found.losses == {"total": 1.0}
    assert moving is w.moving


@pytest.mark.usefixtures("found_again")
def test_masks_that_no_term_reads_are_found_again_all_the_same(w: World, solves: Solves) -> None:
    options = replace(OPTIONS, align=AlignOptions(flow_weight=0))
    _, moving = solved(w, first=np.zeros_like(w.moving), options=options)
    assert len(solves.given) == 1
    assert moving is w.moving


@pytest.mark.parametrize("whose", ["the user's", "the geometric predictor's", "nobody's"])
def test_masks_that_are_not_ours_stay(
    w: World, solves: Solves, whose: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any, **words: Any) -> np.ndarray:
        raise AssertionError("the masks were looked for again")

    monkeypatch.setattr(prediction, "solved_masks", never)
    options, masks = OPTIONS, None
    given = np.roll(w.moving, 9, 2)
    if whose == "the user's":
        masks = given
    elif whose == "nobody's":
        options = replace(options, motion=MotionOptions(enabled=False))
    else:
        options = replace(options, model="geometric")
    _, moving = solved(w, first=given, options=options, masks=masks)
    assert len(solves.given) == 1
    assert moving is given


@pytest.mark.usefixtures("found_again")
def test_the_two_solves_do_not_take_up_each_others_traces(
    w: World, solves: Solves, tmp_path: Any
) -> None:
    solved(w, first=np.zeros_like(w.moving), cache=StageCache(tmp_path / "cache", "this run"))
    first, second = (words["checkpoint"] for words in solves.given)
    first.save({"step": np.array(3)})
    assert second.load() is None
    second.save({"step": np.array(5)})
    assert first.load()["step"] == 3 and second.load()["step"] == 5


@pytest.mark.usefixtures("found_again")
def test_sam_2_follows_the_masks_that_were_found_again(
    w: World, solves: Solves, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = []

    def follow(images: Any, masks: np.ndarray, *args: Any, **words: Any) -> np.ndarray:
        followed.append(masks)
        return np.roll(masks, 3, 1)

    monkeypatch.setattr(prediction, "Sam2", lambda *args, **words: None)
    monkeypatch.setattr(prediction, "locate", lambda spec: spec)
    monkeypatch.setattr(prediction, "refine_masks", follow)
    options = replace(OPTIONS, motion=MotionOptions(refine="sam2"))
    _, moving = solved(w, first=np.zeros_like(w.moving), options=options)
    assert len(followed) == 1 and followed[0] is w.moving
    np.testing.assert_array_equal(solves.given[1]["static"], ~np.roll(w.moving, 3, 1))
    assert moving is not None and (moving == np.roll(w.moving, 3, 1)).all()


@pytest.mark.parametrize(("model", "follows"), [("dust3r", 0), ("geometric", 1)])
def test_sam_2_does_not_follow_a_guess_that_is_looked_at_again(
    w: World, model: Any, follows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    followed = []

    def follow(images: Any, masks: np.ndarray, *args: Any, **words: Any) -> np.ndarray:
        followed.append(masks)
        return masks

    monkeypatch.setattr(prediction, "refine_masks", follow)
    found = prediction._with_masks(
        replace(w.predictions, flows=w.flows, moving=w.moving),
        given_of(w),
        replace(OPTIONS, model=model),
        follow=lambda *args: iter(()),
        report=lambda stage, done, total: None,
    )
    assert len(followed) == follows
    assert found.moving is w.moving


def solved_with_metres(
    predictions: PairPredictions, depth: np.ndarray, known: KnownCameras
) -> Solution:
    """By the true aligner."""
    n, h, w = depth.shape
    frames = Frames(
        np.zeros((n, h, w, 3), np.uint8), np.arange(n) / 30, np.arange(n), (w, h), "a walk"
    )
    given = Given(
        "a walk", frames, known, masks=None, edges=predictions.edges, keyframes=np.arange(1)
    )
    maps = np.zeros((n, h, w, 3), np.float32)
    found, _ = solving.solve(
        predictions,
        given,
        Options(model="geometric", device="cpu", align=AlignOptions(pixels=300)),
        mono=MonoDepth(depth.astype(np.float32), maps, None, is_metric=True, name="maps"),
        report=lambda stage, done, total: None,
        cache=None,
        storage=Storage(),
    )
    return found


@pytest.mark.parametrize("step", [0.0, 0.3])
def test_poses_of_the_predictor_leave_the_unit_to_a_metric_prior(step: float) -> None:
    w = make_world(4, step=step)
    seen = replace(w.predictions, flows=w.flows, world_from_cam=w.world_from_cam)
    found = solved_with_metres(seen, 2.5 * w.depth, KnownCameras())
    assert found.is_metric
    np.testing.assert_allclose(found.depth, 2.5 * w.depth, rtol=0.01)
    path = w.world_from_cam[:, :3, 3]
    np.testing.assert_allclose(found.world_from_cam[:, :3, 3], 2.5 * path, rtol=0.01, atol=1e-6)
    np.testing.assert_allclose(found.world_from_cam[:, :3, :3], w.world_from_cam[:, :3, :3])
    assert found.world_from_pair is not None and found.report is not None
    scale = np.cbrt(np.linalg.det(found.world_from_pair[:, :, :3]))
    np.testing.assert_allclose(found.report.pair_scale, scale, rtol=1e-4)


def test_poses_of_the_user_win_over_a_metric_prior() -> None:
    w = make_world(4, step=0.3)
    known = KnownCameras(world_from_cam=w.world_from_cam)
    found = solved_with_metres(replace(w.predictions, flows=w.flows), 2.5 * w.depth, known)
    assert not found.is_metric
    np.testing.assert_allclose(found.depth, w.depth, rtol=0.01)


def test_one_frame_gets_its_unit_from_a_metric_prior_too() -> None:
    w = make_world(1, [(0, 0)])
    before = w.predictions.points.clone()
    found = solved_with_metres(w.predictions, 2.5 * w.depth, KnownCameras())
    assert found.is_metric
    np.testing.assert_allclose(found.depth, 2.5 * w.depth, rtol=1e-4)
    assert torch.equal(w.predictions.points, before)
