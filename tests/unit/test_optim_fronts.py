"""The sparse solver against the dense one, and what it costs where videos become long."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from align3r.optim.fronts import Plan, factorise, plan_fronts

BORDER, GROUP = 3, 10


def keyframe_graph(n: int) -> list[tuple[int, int]]:
    """Groups of ten, and each keyframe with the next nine."""
    keys = range(0, n, GROUP)
    edges = [pair for pair in combinations(keys, 2) if pair[1] - pair[0] < 10 * GROUP]
    for key in keys:
        edges += combinations(range(key, min(key + GROUP, n)), 2)
    return sorted(edges)


def blocks_of(n: int, edges: list[tuple[int, int]]) -> tuple[list[np.ndarray], np.ndarray]:
    """Unknowns of each view's block (own, its pairs, the other views), and their nodes.

    The first view has one unknown instead of seven.
    """
    nodes: list[list[int]] = [[view] for view in range(n)]
    for number, (i, j) in enumerate(edges):
        nodes[i] += [n + number, j]
        nodes[j] += [n + number, i]
    node = np.repeat(np.arange(n + len(edges)), [1] + [7] * (n + len(edges) - 1))
    at = np.searchsorted(node, np.arange(n + len(edges) + 1))
    unknowns = [np.concatenate([np.arange(at[k], at[k + 1]) for k in own]) for own in nodes]
    return unknowns, node


def plan_of(n: int) -> Plan:
    unknowns, node = blocks_of(n, keyframe_graph(n))
    return plan_fronts(unknowns, node, border=BORDER)


@pytest.mark.parametrize("n", [7, 25])
def test_elimination_is_a_dense_solve(n: int) -> None:
    rng = np.random.default_rng(0)
    unknowns, node = blocks_of(n, keyframe_graph(n))
    size = len(node)
    whole, blocks = np.zeros((size + BORDER, size + BORDER)), []
    for index in unknowns:
        root = rng.standard_normal((len(index) + BORDER, 9))
        blocks.append(root @ root.T)
        at = np.concatenate([index, size + np.arange(BORDER)])
        whole[np.ix_(at, at)] += blocks[-1]
    diagonal = rng.uniform(0.1, 1, size)
    whole[range(size), range(size)] += diagonal
    plan = plan_fronts(unknowns, node, border=BORDER)
    assert len(plan.fronts) > 1
    found = factorise(plan, blocks, diagonal)
    inner = np.linalg.solve(whole[:size, :size], whole[:size, size:])
    left = whole[size:, size:] - whole[size:, :size] @ inner
    np.testing.assert_allclose(found.border, left, atol=1e-9 * np.abs(whole).max())
    border = rng.standard_normal(BORDER)
    solved = found.solve(border)
    np.testing.assert_allclose(solved, -inner @ border, atol=1e-9 * np.abs(solved).max())


def test_every_unknown_is_eliminated_once() -> None:
    plan = plan_of(45)
    own = np.concatenate([front.own for front in plan.fronts])
    np.testing.assert_array_equal(np.sort(own), np.arange(len(own)))
    taken = [part for front in plan.fronts for part, _ in front.parts] + list(plan.roots)
    assert sorted(taken) == list(range(45 + len(plan.fronts)))


def test_a_long_video_costs_the_same_a_frame() -> None:
    """Between the ends of the video, where keyframes have fewer neighbours."""
    short, middle, long = (plan_of(n).entries for n in (200, 400, 800))
    first, second = (middle - short) / 200, (long - middle) / 400
    assert second < 1.1 * first
    assert second < 16_000  # 128 kB
    largest = max(len(front.own) + len(front.rest) for front in plan_of(400).fronts)
    assert largest < 1000


def test_a_system_without_an_answer_is_an_error() -> None:
    unknowns, node = blocks_of(3, [(0, 1), (1, 2)])
    plan = plan_fronts(unknowns, node, border=BORDER)
    nothing = [np.zeros((len(index) + BORDER,) * 2) for index in unknowns]
    with pytest.raises(np.linalg.LinAlgError):
        factorise(plan, nothing, np.zeros(len(node)))
