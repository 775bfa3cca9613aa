"""Flow of pairs: once for both directions and both orders, and DIS over any displacement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from test_flow_matches import texture

from align3r.flow import pairs
from align3r.flow.dis import DisFlow
from align3r.flow.matches import detect
from align3r.flow.pairs import pair_flows, two_way_flows
from align3r.flow.protocol import BatchedFlow

SHAPE = (120, 180)


def panning(steps: tuple[int, ...]) -> np.ndarray:
    """Frames cut from one wide picture: frame k begins at column steps[k]."""
    scene = texture((SHAPE[0], SHAPE[1] + max(steps)))
    return np.stack([scene[:, s : s + SHAPE[1]] for s in steps])


class CountingFlow:
    """Says how often it was asked, and answers with a flow that tells the images apart."""

    name = "counting"

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.started: list[bool] = []

    def __call__(
        self, source: np.ndarray, target: np.ndarray, *, start: np.ndarray | None = None
    ) -> np.ndarray:
        a, b = int(source[0, 0, 0]), int(target[0, 0, 0])
        self.asked.append((a, b))
        self.started.append(start is not None)
        return np.full((*source.shape[:2], 2), b - a, np.float32)


def numbered(n: int) -> np.ndarray:
    return np.stack([np.full((20, 30, 3), k, np.uint8) for k in range(n)])


def test_dis_follows_sixty_pixels_only_when_it_is_told_where_to_start() -> None:
    images = panning((0, 60))
    start = np.full((*SHAPE, 2), (-57.0, 1.5), np.float32)
    seen = np.s_[8:-8, 72:-8]
    told = DisFlow()(images[0], images[1], start=start)
    assert np.abs(told[seen] - (-60, 0)).max() < 1
    alone = DisFlow()(images[0], images[1])
    assert np.median(np.abs(alone[seen] - (-60, 0))) > 5


def test_dis_takes_grey_images_too_and_does_not_write_into_its_arguments() -> None:
    images = panning((0, 3))
    grey = np.ascontiguousarray(images[..., 1])
    start = np.full((*SHAPE, 2), (-2, 0), np.float32)
    kept = start.copy()
    flow = DisFlow()(grey[0], grey[1], start=start)
    assert flow.dtype == np.float32 and flow.shape == (*SHAPE, 2)
    assert np.abs(np.median(flow, (0, 1)) - (-3, 0)).max() < 0.2
    np.testing.assert_array_equal(start, kept)


def test_far_pairs_are_started_from_matches_and_near_ones_are_not() -> None:
    images = panning((0, 4, 60))
    features = [detect(image) for image in images]
    flow = CountingFlow()
    two_way_flows(flow, (images[0], images[1]), (features[0], features[1]))
    two_way_flows(flow, (images[0], images[2]), (features[0], features[2]))
    assert flow.started == [False, False, True, True]


def test_flows_of_a_pan_are_right_near_and_far_and_valid_where_both_frames_see() -> None:
    steps = (0, 4, 60)
    flows = pair_flows(panning(steps), np.array([[0, 1], [2, 0]]), DisFlow())
    for row, move in ((0, -4), (1, 60)):
        for flow, valid, u in (
            (flows.forward[row], flows.forward_valid[row], move),
            (flows.backward[row], flows.backward_valid[row], -move),
        ):
            both = np.zeros(SHAPE, bool)
            both[:, max(0, -u) : SHAPE[1] - max(0, u)] = True
            assert valid[both].mean() > 0.95
            assert valid[~both].mean() < 0.1
            assert (np.abs(flow[valid & both] - (u, 0)).max(-1) < 0.5).mean() > 0.98


def test_an_unordered_pair_is_computed_once_for_both_orders() -> None:
    flow, seen = CountingFlow(), []
    edges = np.array([[0, 3], [2, 1], [3, 0], [1, 2], [0, 1]])
    flows = pair_flows(numbered(4), edges, flow, on_pair=lambda k, n: seen.append((k, n)))
    assert sorted(flow.asked) == sorted([(0, 3), (3, 0), (1, 2), (2, 1), (0, 1), (1, 0)])
    assert seen == [(1, 3), (2, 3), (3, 3)]
    move = edges[:, 1] - edges[:, 0]
    assert (flows.forward == move[:, None, None, None]).all()
    assert (flows.backward == -move[:, None, None, None]).all()
    np.testing.assert_array_equal(flows.forward_valid[0], flows.backward_valid[2])
    np.testing.assert_array_equal(flows.edges, edges)
    assert flows.forward.dtype == flows.backward.dtype == np.float16


def test_a_flow_that_runs_away_stays_finite_and_is_not_valid() -> None:
    class Runaway(CountingFlow):
        def __call__(
            self, source: np.ndarray, target: np.ndarray, *, start: np.ndarray | None = None
        ) -> np.ndarray:
            return np.full((*source.shape[:2], 2), 1e6, np.float32)

    flows = pair_flows(numbered(2), np.array([[0, 1]]), Runaway())
    assert np.isfinite(flows.forward).all()
    assert not flows.forward_valid.any()


def test_blank_frames_have_a_flow_too() -> None:
    flows = pair_flows(np.full((2, *SHAPE, 3), 77, np.uint8), np.array([[0, 1]]), DisFlow())
    assert np.abs(flows.forward).max() < 0.5


class Batched(CountingFlow):
    """The same answers, from a list of pairs."""

    def many(self, images: np.ndarray, ways: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
        self.ways = list(ways)
        for i, j in ways:
            yield super().__call__(images[i], images[j])

    def __call__(
        self, source: np.ndarray, target: np.ndarray, *, start: np.ndarray | None = None
    ) -> np.ndarray:
        raise AssertionError("asked for one pair")


def test_a_flow_that_takes_many_pairs_is_given_all_and_no_matches_are_looked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    edges = np.array([[0, 3], [2, 1], [3, 0], [1, 2], [0, 1]])
    one_by_one = pair_flows(numbered(4), edges, CountingFlow())
    monkeypatch.setattr(pairs, "detect", None)
    flow, seen = Batched(), []
    assert isinstance(flow, BatchedFlow) and not isinstance(CountingFlow(), BatchedFlow)
    flows = pair_flows(numbered(4), edges, flow, on_pair=lambda k, n: seen.append((k, n)))
    assert flow.ways == [(0, 1), (1, 0), (0, 3), (3, 0), (1, 2), (2, 1)]
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for name in ("forward", "backward", "forward_valid", "backward_valid"):
        np.testing.assert_array_equal(getattr(flows, name), getattr(one_by_one, name))
