"""Pair graphs against the reference lists in pairs.json, with every deliberate difference named.

The differences, all of them:

1. A pair is stored as (low, high) and the list is sorted. The reference stores `complete` as
   (high, low), `oneref-k` as (k, j), and the windows in hash order: compare as undirected sets.
2. No self pairs. The reference has them in cyclic windows whose offset is a multiple of N and,
   in MonST3R, as (k, k) of oneref.
3. Asking for both orders gives both orders, not asking does not. MonST3R forces both for N = 2
   and ignores the wish for `oneref*` and every name that starts with `swin-1`.
4. A cyclic offset may wrap past N without making a double: the sets agree, self pairs apart.
5. `swinskip_start` is not offered: with N = 2 it has no pair and with N = 3 a frame is lost.
6. Keyframe groups have exactly the size asked for, as in the paper, for every N >= 1, and a last
   group of one frame is allowed. The released rule shrinks the group until its remainder is
   neither 0 nor 1, and divides by zero below 5 frames.
7. Inside a group all pairs are taken, as in the paper; the released demo takes odd offsets only
   and both orders.
8. The pre-filters `seqK` and `cycK` of the complete graph are the windows `swin` of K.
"""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from align3r.config import PairOptions
from align3r.pairing import build_pairs, keyframe_groups, keyframe_indices

GOLDEN = json.loads((Path(__file__).parent / "pairs.json").read_text())
NOT_OFFERED = "swinskip_start"
CASES = [
    (repository, graph, int(n))
    for repository, graphs in GOLDEN["graphs"].items()
    for graph, sizes in graphs.items()
    for n in sizes
    if not graph.startswith(NOT_OFFERED)
]
HIERARCHICAL = [
    (tool, int(n))
    for tool, sizes in GOLDEN["hierarchical"].items()
    for n, case in sizes.items()
    if n != "initial_clip_size" and case and "group_pairs_global" in case
]


def options_of(name: str, *, symmetric: bool = False) -> PairOptions:
    graph, number, noncyclic = re.fullmatch(r"([a-z0-9]+)(?:-(\d+))?(-noncyclic)?", name).groups()  # type: ignore[union-attr]
    value = 3 if number is None else int(number)
    numbers = {"reference": value} if graph == "oneref" else {"window": value}
    return PairOptions(graph=graph, cyclic=noncyclic is None, symmetric=symmetric, **numbers)


def undirected(pairs: Any) -> set[tuple[int, int]]:
    return {(min(p), max(p)) for p in pairs if p[0] != p[1]}


def reference_pairs(case: dict[str, Any], n: int) -> set[tuple[int, int]]:
    if case["pairs"] is None:
        assert case["rule"].startswith("all (i, j) with j < i")
        return set(combinations(range(n), 2))
    return undirected(case["pairs"])


@pytest.mark.parametrize(("repository", "graph", "n"), CASES)
def test_graph(repository: str, graph: str, n: int) -> None:
    case = GOLDEN["graphs"][repository][graph][str(n)]
    edges = build_pairs(n, options_of(graph))
    want = reference_pairs(case, n)
    assert undirected(edges.tolist()) == want
    assert len(edges) == len(want)
    both = build_pairs(n, options_of(graph, symmetric=True))
    assert {tuple(e) for e in both.tolist()} == want | {(j, i) for i, j in want}


def test_counts_differ_only_where_the_reference_has_self_pairs_or_forces_both_orders() -> None:
    different = {
        (repository, graph, n)
        for repository, graph, n in CASES
        if len(build_pairs(n, options_of(graph)))
        != GOLDEN["graphs"][repository][graph][str(n)]["count"]
    }
    for repository, graph, n in different:
        pairs = GOLDEN["graphs"][repository][graph][str(n)]["pairs"]
        has_self_pairs = any(i == j for i, j in pairs)
        assert has_self_pairs or (repository == "monst3r" and n == 2)
    assert different, "the reference lists are known to hold self pairs"


@pytest.mark.parametrize(("tool", "n"), HIERARCHICAL)
def test_hierarchical(tool: str, n: int) -> None:
    case = GOLDEN["hierarchical"][tool][str(n)]
    group = case["clip_size"]
    assert keyframe_indices(n, group).tolist() == case["keyframes"]
    assert [g.tolist() for g in keyframe_groups(n, group)] == case["groups"]
    ours = undirected(build_pairs(n, PairOptions(group=group)).tolist())
    theirs = undirected(case["keyframe_pairs_global"])
    for pairs in case["group_pairs_global"]:
        theirs |= undirected(pairs)
    assert theirs <= ours
    same_group = {(i, j) for i, j in ours - theirs if i // group == j // group}
    assert same_group == ours - theirs, "only pairs inside a group may be new"
    assert all((j - i) % 2 == 0 for i, j in same_group), "and only the even offsets"
    if tool == "depth_evaluation":
        assert ours == theirs


def test_sizes_the_reference_cannot_do() -> None:
    for n in (2, 3, 4):
        assert GOLDEN["hierarchical"]["demo"][str(n)] is None
        assert len(build_pairs(n, PairOptions())) == n * (n - 1) // 2


def test_swinskip_start_is_left_out_because_it_loses_frames() -> None:
    case = GOLDEN["graphs"]["monst3r"]["swinskip_start-3-noncyclic"]
    assert case["2"]["pairs"] == []
    assert {i for pair in case["3"]["pairs"] for i in pair} == {0, 2}


@pytest.mark.parametrize("n", [5, 10])
def test_prefilters_are_windows(n: int) -> None:
    sequence = build_pairs(n, PairOptions(graph="swin", window=3))
    assert undirected(sequence.tolist()) == undirected(GOLDEN["prefilter"]["seq3"][str(n)])
    ring = build_pairs(n, PairOptions(graph="swin", window=3, cyclic=True))
    assert undirected(ring.tolist()) == undirected(GOLDEN["prefilter"]["cyc3"][str(n)])


@pytest.mark.parametrize("name", list(GOLDEN["paper_scheme"]))
def test_scheme_of_the_paper(name: str) -> None:
    case = GOLDEN["paper_scheme"][name]
    n, groups = (int(x) for x in re.findall(r"\d+", name))
    edges = build_pairs(n, PairOptions(group=n // groups))
    want = undirected(case["keyframe_pairs_global"])
    for pairs in case["group_pairs_global"]:
        want |= undirected(pairs)
    assert {tuple(e) for e in edges.tolist()} == want
    assert len(edges) == case["total"]
