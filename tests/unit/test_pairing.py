from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from align3r.config import PairOptions
from align3r.errors import UsageError
from align3r.pairing import (
    build_pairs,
    choose_keyframes,
    keyframe_groups,
    keyframe_indices,
    require_connected,
)
from align3r.pairing.graphs import GRAPHS, KEYFRAME_REACH

ALL = [
    PairOptions(graph=graph, cyclic=cyclic, symmetric=symmetric, window=window)
    for graph in GRAPHS
    for cyclic in (False, True)
    for symmetric in (False, True)
    for window in (1, 5)
]


def reachable(edges: np.ndarray, n: int) -> set[int]:
    """Obvious twin of the label propagation: a walk over neighbours."""
    neighbours: dict[int, list[int]] = {i: [] for i in range(n)}
    for i, j in edges.tolist():
        neighbours[i].append(j)
        neighbours[j].append(i)
    seen, todo = {0}, [0]
    while todo:
        for j in neighbours[todo.pop()]:
            if j not in seen:
                seen.add(j)
                todo.append(j)
    return seen


@pytest.mark.parametrize("options", ALL, ids=str)
def test_every_graph_connects_all_frames_and_holds_its_contract(options: PairOptions) -> None:
    for n in range(1, 201):
        if options.graph == "complete" and n > 40 and n % 20:
            continue
        edges = build_pairs(n, options)
        assert edges.dtype == np.int64
        assert edges.shape == (len(edges), 2)
        assert (edges[:, 0] != edges[:, 1]).all()
        assert len({tuple(e) for e in edges.tolist()}) == len(edges)
        assert reachable(edges, n) == set(range(n))
        half = edges[: len(edges) // 2] if options.symmetric else edges
        assert (half[:, 0] < half[:, 1]).all()
        assert half.tolist() == sorted(half.tolist())
        if options.symmetric:
            np.testing.assert_array_equal(edges[len(half) :], half[:, ::-1])


def test_thirty_frames_in_three_groups_are_138_pairs() -> None:
    assert len(build_pairs(30, PairOptions())) == 138


def test_keyframe_scheme_equals_its_description() -> None:
    want = {(0, 10), (0, 20), (10, 20)}
    for first in (0, 10, 20):
        want |= set(combinations(range(first, first + 10), 2))
    assert {tuple(e) for e in build_pairs(30, PairOptions()).tolist()} == want


def test_one_frame_has_no_pairs_and_two_have_one() -> None:
    for options in ALL:
        assert build_pairs(1, options).shape == (0, 2)
        assert len(build_pairs(2, options)) == (2 if options.symmetric else 1)


def test_keyframe_graph_grows_linearly_and_is_complete_among_few_keyframes() -> None:
    counts = {n: len(build_pairs(n, PairOptions())) for n in (500, 1000, 1500, 2000)}
    assert counts[1500] - counts[1000] == counts[1000] - counts[500]
    assert counts[2000] < 6 * 2000
    few = (KEYFRAME_REACH + 1) * 10
    edges = {tuple(e) for e in build_pairs(few, PairOptions()).tolist()}
    assert set(combinations(range(0, few, 10), 2)) <= edges


def test_a_last_group_of_one_frame_is_its_own_keyframe() -> None:
    assert keyframe_indices(31, 10).tolist() == [0, 10, 20, 30]
    edges = build_pairs(31, PairOptions())
    assert len(edges) == 138 + 3
    assert sorted(edges[(edges == 30).any(axis=1)].tolist()) == [[0, 30], [10, 30], [20, 30]]


def test_groups_cover_all_frames_once_and_start_with_their_keyframe() -> None:
    for n in (1, 9, 10, 11, 37):
        groups = keyframe_groups(n, 10)
        assert np.concatenate(groups).tolist() == list(range(n))
        assert [g[0] for g in groups] == keyframe_indices(n, 10).tolist()


def test_a_blank_frame_stands_for_no_group_that_shows_something() -> None:
    images = np.zeros((23, 8, 8, 3), np.uint8)
    images[[2, 3, 11], :4] = 200
    keys = choose_keyframes(images, 10)
    assert keys.tolist() == [2, 11, 20]
    edges = {tuple(e) for e in build_pairs(23, PairOptions(), keyframes=keys).tolist()}
    groups = [range(0, 10), range(10, 20), range(20, 23)]
    inside = {pair for group in groups for pair in combinations(group, 2)}
    assert edges == inside | {(2, 11), (2, 20), (11, 20)}


def test_cyclic_joins_the_ends() -> None:
    assert [0, 29] in build_pairs(30, PairOptions(graph="swin", cyclic=True)).tolist()
    long = PairOptions(cyclic=True)
    assert [0, 290] in build_pairs(300, long).tolist()
    assert [0, 290] not in build_pairs(300, replace(long, cyclic=False)).tolist()


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (0, PairOptions(), "0 frames"),
        (5, PairOptions(graph="swin", window=0), "window of 0"),
        (5, PairOptions(graph="logwin", window=-1), "window of -1"),
        (5, PairOptions(group=0), "group of 0"),
        (5, PairOptions(graph="oneref", reference=5), "reference frame 5 is not among the 5"),
        (5, PairOptions(graph="oneref", reference=-1), "reference frame -1"),
        (5, PairOptions(graph="nonsense"), "nonsense"),  # type: ignore[arg-type]
    ],
)
def test_options_that_make_no_sense_are_refused(n: int, options: PairOptions, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        build_pairs(n, options)
    assert caught.value.hint


def test_a_disconnected_list_of_pairs_is_refused_with_its_numbers() -> None:
    with pytest.raises(UsageError, match=r"leave 3 of 6 frames .* first of them frame 2"):
        require_connected(np.array([[0, 1], [2, 3], [1, 5], [3, 4]]), 6)
    require_connected(np.array([[4, 5], [3, 4], [2, 3], [1, 2], [0, 5]]), 6)
