"""The rules by which evidence of motion becomes a mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from align3r.motion.masks import Match, motion_masks

SHAPE = (96, 128)
STILL = 0.5
"""Typical disagreement of the static scene, pixels: 6 robust deviations are 4.4 px."""


def evidence(n: int = 1) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.uniform(0.8 * STILL, 1.2 * STILL, (n, *SHAPE)).astype(np.float32)


def square(side: int = 30, at: tuple[int, int] = (30, 40)) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[at[0] : at[0] + side, at[1] : at[1] + side] = True
    return mask


def no_flow(n: int) -> np.ndarray:
    return np.zeros((n, *SHAPE, 2), np.float16)


def matches(flow: np.ndarray, *, valid: bool = True) -> list[Match | None]:
    return [Match(one, np.full(one.shape[:2], valid)) for one in flow]


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_moving_square_is_found_as_it_is() -> None:
    given = evidence()
    given[0][square()] = 9.0
    masks = motion_masks(given, threshold=6.0)
    assert masks.dtype == bool and masks.shape == (1, *SHAPE)
    assert iou(masks[0], square()) > 0.95


def test_a_static_scene_has_no_mask() -> None:
    assert not motion_masks(evidence(3), threshold=6.0).any()


@pytest.mark.parametrize(("disagreement_px", "moves"), [(4.0, False), (5.0, True)])
def test_the_threshold_counts_robust_deviations(disagreement_px: float, moves: bool) -> None:
    given = evidence()
    given[0][square()] = disagreement_px
    assert motion_masks(given, threshold=6.0).any() == moves


@pytest.mark.parametrize(("disagreement_px", "moves"), [(1.4, False), (1.6, True)])
def test_a_perfect_flow_does_not_make_everything_move(disagreement_px: float, moves: bool) -> None:
    """Nothing below 6 times a quarter of a pixel counts, however still the rest is."""
    given = 0.001 * evidence()
    given[0][square()] = disagreement_px
    assert motion_masks(given, threshold=6.0).any() == moves


def test_one_wild_pixel_changes_nothing() -> None:
    given = evidence()
    given[0][square()] = 9.0
    before = motion_masks(given, threshold=6.0)
    given[0, 5, 5] = 1e6
    np.testing.assert_array_equal(motion_masks(given, threshold=6.0), before)


def test_specks_go_and_holes_are_filled() -> None:
    given = evidence()
    given[0][square()] = 9.0
    given[0, 42:45, 52:55] = STILL  # inside the square
    given[0, 10, 10] = given[0, 80:82, 100:102] = 9.0
    mask = motion_masks(given, threshold=6.0)[0]
    assert mask[42:45, 52:55].all()
    assert not mask[:20].any() and not mask[75:].any()


def test_a_large_hole_stays_open() -> None:
    given = evidence()
    frame = square(60, at=(15, 30)) & ~square(36, at=(27, 42))
    given[0][frame] = 9.0
    assert not motion_masks(given, threshold=6.0)[0][35:55, 50:70].any()


def test_a_flash_of_one_frame_goes_and_what_stays_does_not() -> None:
    given = evidence(5)
    given[:, 30:60, 40:70] = 9.0
    flash = square(24, at=(60, 90))
    given[2][flash] = 9.0
    still = matches(no_flow(5))
    masks = motion_masks(given, threshold=6.0, to_next=still, to_previous=still)
    assert not (masks[2] & flash).any()
    assert all(iou(mask, square()) > 0.95 for mask in masks)
    assert (motion_masks(given, threshold=6.0)[2] & flash).any()


def test_neighbours_in_time_are_found_along_the_flow() -> None:
    """What travels farther than its own width in a frame stays, if the flow tells where it is."""
    given, n = evidence(5), 5
    for k in range(n):
        given[k][square(16, at=(30, 5 + 22 * k))] = 9.0
    to_next, to_previous = no_flow(n), no_flow(n)
    to_next[..., 0], to_previous[..., 0] = 22, -22
    beside = matches(to_next), matches(to_previous)
    along = motion_masks(given, threshold=6.0, to_next=beside[0], to_previous=beside[1])
    assert all(iou(along[k], square(16, at=(30, 5 + 22 * k))) > 0.8 for k in range(n))
    still = matches(no_flow(n))
    ahead = motion_masks(given, threshold=6.0, to_next=still, to_previous=still)
    assert not ahead[1:-1].any()


def test_a_frame_without_a_flow_to_its_neighbour_is_left_as_it_is() -> None:
    given = evidence(5)
    flash = square()
    given[1][flash] = given[2][flash] = 9.0
    given[3] = np.roll(given[2], 50, 1)
    to_next, to_previous = matches(no_flow(5)), matches(no_flow(5))
    to_next[1] = None
    masks = motion_masks(given, threshold=6.0, to_next=to_next, to_previous=to_previous)
    alone = motion_masks(given, threshold=6.0)
    np.testing.assert_array_equal(masks[1], alone[1])
    assert not masks[3].any()


def remembered(
    given: np.ndarray, to_next: Sequence[Match | None], to_previous: Sequence[Match | None]
) -> np.ndarray:
    return motion_masks(
        given, threshold=6.0, to_next=to_next, to_previous=to_previous, remembers=True
    )


def test_what_a_static_scene_explains_in_some_frames_is_found_in_those_around_them() -> None:
    given, still = evidence(9), matches(no_flow(9))
    given[:, 30:60, 40:70] = 9.0
    given[3:5, 30:60, 40:70] = 0.05
    alone = motion_masks(given, threshold=6.0)
    assert not alone[3].any() and not alone[4].any()
    masks = remembered(given, still, still)
    assert all(iou(mask, square()) > 0.9 for mask in masks)


def test_nothing_is_handed_on_where_the_way_back_does_not_lead_home() -> None:
    given = evidence(9)
    given[:, 30:60, 40:70] = 9.0
    given[3:5] = 0.05
    hidden = matches(no_flow(9), valid=False)
    masks = remembered(given, hidden, hidden)
    np.testing.assert_array_equal(masks, motion_masks(given, threshold=6.0))


def test_nothing_is_handed_on_across_a_frame_without_a_match() -> None:
    given = evidence(7)
    given[:3, 30:60, 40:70] = 9.0
    to_next, to_previous = matches(no_flow(7)), matches(no_flow(7))
    to_next[2] = to_previous[3] = None
    masks = remembered(given, to_next, to_previous)
    assert all(iou(mask, square()) > 0.95 for mask in masks[:3])
    assert not masks[3:].any()


def test_a_memory_forgets_a_flash_and_follows_what_travels() -> None:
    given = evidence(9)
    given[4][square(24, at=(60, 90))] = 9.0
    still = matches(no_flow(9))
    assert not remembered(given, still, still).any()
    given, n = evidence(5), 5
    for k in range(n):
        given[k][square(16, at=(30, 5 + 22 * k))] = 9.0
    ahead, back = no_flow(n), no_flow(n)
    ahead[..., 0], back[..., 0] = 22, -22
    masks = remembered(given, matches(ahead), matches(back))
    assert all(iou(masks[k], square(16, at=(30, 5 + 22 * k))) > 0.8 for k in range(n))


def test_what_nobody_knows_does_not_move() -> None:
    nothing = np.full((2, *SHAPE), np.nan, np.float32)
    assert not motion_masks(nothing, threshold=6.0).any()
    given = evidence()
    given[0][square()] = np.nan
    assert not motion_masks(given, threshold=6.0).any()
