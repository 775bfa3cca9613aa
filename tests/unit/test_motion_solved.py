"""Motion from solved cameras, and the votes that every kind of evidence is made of."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from motion_world import CAMERA, SHAPE, hill, iou, rigid, world

from align3r.geometry.cameras import ego_flow
from align3r.motion.evidence import Vote, count, vote
from align3r.motion.solved import solved_evidence, solved_masks
from align3r.motion.static_scene import Sight, in_sight


def test_with_exact_cameras_only_the_square_disagrees() -> None:
    w = world()
    found = solved_evidence(w.solution, w.flows)
    known = np.isfinite(found.error)
    assert known.mean() > 0.9
    assert np.quantile(found.error[known & ~w.moving], 0.99) < 0.05
    assert np.quantile(found.error[known & w.moving], 0.05) > 2
    assert iou(solved_masks(w.solution, w.flows, 6.0), w.moving) > 0.9


def test_a_still_world_has_no_mask_and_depth_may_be_a_little_wrong() -> None:
    w = world(object_px=0.0)
    depth = w.solution.depth * np.linspace(0.96, 1.04, SHAPE[1], dtype=np.float32)
    assert not solved_masks(replace(w.solution, depth=depth), w.flows, 6.0).any()


def test_wrong_cameras_disagree() -> None:
    w = world(object_px=0.0)
    pose = w.solution.world_from_cam.copy()
    pose[1] = pose[1] @ rigid((0.0, 0.1, 0.0), (0, 0, 0))
    found = solved_evidence(replace(w.solution, world_from_cam=pose), w.flows)
    assert np.nanmedian(found.error[1]) > 3 > np.nanmedian(found.error[2])


def test_pixels_that_are_not_square() -> None:
    w, aspect = world(), 1.08
    shape = (round(SHAPE[0] / aspect), SHAPE[1])

    def squeezed(maps: np.ndarray, interpolation: int) -> np.ndarray:
        return np.stack([cv2.resize(m, shape[::-1], interpolation=interpolation) for m in maps])

    step = SHAPE[0] / shape[0]
    flows = [squeezed(f, cv2.INTER_LINEAR) / (1, step) for f in (w.flows.forward, w.flows.backward)]
    valid = [
        squeezed(v.astype(np.uint8), cv2.INTER_NEAREST) > 0
        for v in (w.flows.forward_valid, w.flows.backward_valid)
    ]
    centre = (w.solution.principal_point[0], (w.solution.principal_point[1] + 0.5) / step - 0.5)
    depth = squeezed(w.solution.depth, cv2.INTER_LINEAR)
    solution = replace(w.solution, depth=depth, principal_point=centre)
    given = replace(
        w.flows,
        forward=flows[0],
        backward=flows[1],
        forward_valid=valid[0],
        backward_valid=valid[1],
    )
    right = solved_evidence(solution, given, aspect=step)
    wrong = solved_evidence(solution, given)
    moving = squeezed(w.moving.astype(np.uint8), cv2.INTER_NEAREST) > 0
    assert iou(solved_masks(solution, given, 6.0, aspect=step), moving) > 0.9
    assert np.nanmean(right.error[~moving]) < 0.5 * np.nanmean(wrong.error[~moving])


def test_a_frame_with_unknown_depth_says_nothing() -> None:
    w = world()
    depth = w.solution.depth.copy()
    depth[0] = np.nan
    depth[1, :20] = np.nan
    found = solved_evidence(replace(w.solution, depth=depth), w.flows)
    assert np.isnan(found.error[0]).all()
    assert np.isnan(found.error[1, :20]).all() and not np.isnan(found.error[1, 25:]).all()


def test_the_weighted_median_is_that_of_repeated_values() -> None:
    rng = np.random.default_rng(0)
    times = rng.integers(0, 4, (5, 6, 7))
    errors = rng.uniform(0, 9, (5, 6, 7)).astype(np.float32)
    votes = [Vote(e, t.astype(np.float32), 1.0) for e, t in zip(errors, times, strict=True)]
    error, weight = count(votes)
    np.testing.assert_array_equal(weight, times.sum(0))
    for v, u in np.ndindex(6, 7):
        said = np.repeat(errors[:, v, u], times[:, v, u])
        expected = np.median(said) if len(said) else np.nan
        np.testing.assert_allclose(error[v, u], expected, rtol=1e-6)


# One pair of pictures: the camera stands still and a square moves by (6, 0).
SQUARE, BLEEDS = np.s_[20:50, 30:60], np.s_[14:56, 24:66]


def pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 255, (2, *SHAPE, 3)).astype(np.uint8)
    ground, thing = (cv2.GaussianBlur(picture, (0, 0), 1.0) for picture in noise)
    before, after = ground.copy(), ground.copy()
    before[SQUARE] = thing[SQUARE]
    after[20:50, 36:66] = thing[SQUARE]
    return before, after


def sight(*, images: bool = True) -> Sight:
    flow = np.zeros((*SHAPE, 2), np.float32)
    flow[BLEEDS] = (6, 0)
    return Sight(
        flow=flow,
        valid=np.ones(SHAPE, bool),
        target_from_source=np.eye(4),
        source=CAMERA,
        target_focal=CAMERA.focal,
        images=pictures() if images else None,
    )


FLAT = np.full(SHAPE, 0.5, np.float32)


def square(inset: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[20 + inset : 50 - inset, 30 + inset : 60 - inset] = True
    return mask


def test_images_take_back_what_the_flow_bleeds() -> None:
    blind, seeing = vote(sight(images=False), FLAT), vote(sight(), FLAT)
    assert blind is not None and seeing is not None
    ring = np.zeros(SHAPE, bool)
    ring[BLEEDS] = True
    # To the right the ground is hidden by the square a moment later.
    ring &= ~square(-3) & (np.arange(SHAPE[1]) < 60)
    assert (blind.error[ring] == 6).all() and (blind.weight == 1).all()
    assert (seeing.error[ring] == 0).all()
    assert (seeing.error[square(3)] == 6).all()
    assert seeing.weight[ring | square(3)].min() > 0.5


def test_where_both_flows_match_there_is_little_to_say() -> None:
    given = sight()
    plain = np.full((*SHAPE, 3), 90, np.uint8)
    found = vote(replace(given, images=(plain, plain)), FLAT)
    assert found is not None
    assert found.weight[square(0)].max() < 0.05
    assert found.weight[:10].min() == 1


def test_lost_flow_has_a_say_where_a_static_scene_would_be_in_sight() -> None:
    given = sight()
    valid = given.valid.copy()
    valid[BLEEDS] = False
    depth = np.full(SHAPE, 2.0, np.float32)
    lost = vote(replace(given, valid=valid, target_depth=depth), FLAT)
    unsaid = vote(replace(given, valid=valid), FLAT)
    hidden = vote(replace(given, valid=valid, target_depth=0.5 * depth), FLAT)
    assert lost is not None and unsaid is not None and hidden is not None
    assert (unsaid.weight[BLEEDS] == 0).all() and (hidden.weight[BLEEDS] == 0).all()
    assert (lost.weight[BLEEDS] > 0).all() and lost.weight[BLEEDS].max() < 0.5
    assert np.median(lost.error[square(3)]) > 4
    still = np.zeros(SHAPE, bool)
    still[BLEEDS] = True
    assert (lost.error[still & ~square(-3) & (np.arange(SHAPE[1]) < 60)] == 0).all()


def test_a_flow_that_is_lost_everywhere_has_no_vote() -> None:
    assert vote(replace(sight(), valid=np.zeros(SHAPE, bool)), FLAT) is None


@pytest.mark.parametrize(("nearer", "seen"), [(1.0, True), (0.98, True), (0.8, False)])
def test_in_sight_is_what_nothing_stands_before(nearer: float, seen: bool) -> None:
    """A wall seen from a little to the left, and in part something before it."""
    pose = rigid((0, 0, 0), (0.2, 0, 0))
    depth = np.full(SHAPE, 3.0, np.float32)
    depth[30:50, 40:60] *= nearer
    given = replace(sight(images=False), target_from_source=pose, target_depth=depth)
    third = np.full(SHAPE, 1 / 3, np.float32)
    found = in_sight(given, third, given.expected(third)[0])
    shift = round(CAMERA.focal * 0.2 / 3)
    assert found[34:46, 44 - shift : 56 - shift].all() == seen
    assert found[:25, : SHAPE[1] - shift - 1].all()
    assert not found[:, SHAPE[1] - shift :].any()


def test_in_sight_needs_the_depth_of_the_target() -> None:
    with pytest.raises(ValueError, match="depth of the target view"):
        in_sight(sight(), FLAT, sight().expected(FLAT)[0])


def test_what_is_expected_is_the_ego_flow() -> None:
    rho = [(1 / hill(k)).astype(np.float32) for k in range(2)]
    pose = rigid((0.05, -0.1, 0.02), (0.3, -0.1, -0.4))
    camera = replace(CAMERA, aspect=1.08)
    given = replace(sight(), target_from_source=pose, source=camera, target_focal=70.0)
    words = {"target_focal": 70.0, "aspect": 1.08}
    for depth, (flow, front) in zip(rho, given.expected(*rho), strict=True):
        slow, in_front = ego_flow(depth, pose, CAMERA.focal, CAMERA.centre, **words)
        np.testing.assert_allclose(flow, slow, atol=1e-4)
        np.testing.assert_array_equal(front > 0, in_front)
