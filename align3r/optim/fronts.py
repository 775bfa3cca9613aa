"""A sparse symmetric system as a tree of small dense ones: the multifrontal method.

The system is a sum of dense blocks, each over a few unknowns. Blocks that share an unknown are
summed into a front, the unknowns that no other block knows are eliminated there, and what is left
is one block more. Fronts are as large as the places where the graph is dense, whatever its
length, so work and memory grow with the number of frames. A few unknowns that every block knows,
the border, are carried along to the end. (Duff and Reid, ACM TOMS 9, 1983.)
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

Runs = tuple[tuple[slice, slice], ...]
"""Rows of a front and the rows of a part that are added to them."""


@dataclass(frozen=True)
class Front:
    """One small dense system."""

    own: np.ndarray
    """(K,) unknowns that are eliminated here."""
    rest: np.ndarray
    """(M,) unknowns that remain."""
    parts: tuple[tuple[int, Runs], ...]
    """Blocks that are summed here, fronts counting on from the blocks, and where their rows go."""


@dataclass(frozen=True)
class Plan:
    """In which order the unknowns are eliminated, and where."""

    fronts: tuple[Front, ...]
    roots: tuple[int, ...]
    """Blocks and fronts of which nothing but the border is left."""
    border: int
    """Unknowns that every block ends with."""

    @property
    def entries(self) -> int:
        """Numbers in the factor."""
        sizes = [(len(front.own), len(front.rest) + self.border) for front in self.fronts]
        return sum(own * (own + 1) // 2 + own * rest for own, rest in sizes)


def plan_fronts(blocks: Sequence[np.ndarray], node: np.ndarray, *, border: int) -> Plan:
    """An order of elimination: of the nodes, always the one with the fewest neighbours.

    Args:
        blocks: Unknowns of each block, the border left out.
        node: (n,) ascending node that each unknown belongs to; nodes are eliminated whole.
        border: Unknowns that every block ends with.
    """
    first = np.searchsorted(node, np.unique(node))
    known = {
        int(node[at]): run
        for at, run in zip(first, np.split(np.arange(len(node)), first[1:]), strict=True)
    }
    pieces = {number: {int(n) for n in node[block]} for number, block in enumerate(blocks)}
    unknowns = dict(enumerate(blocks))
    where: dict[int, set[int]] = {n: set() for n in known}
    for number, nodes in pieces.items():
        for n in nodes:
            where[n].add(number)
    queue = [(len(_around(n, where, pieces)), n) for n in where]
    heapq.heapify(queue)
    fronts: list[Front] = []
    while queue:
        degree, n = heapq.heappop(queue)
        if n not in where:
            continue
        around = _around(n, where, pieces)
        if len(around) > degree:
            heapq.heappush(queue, (len(around), n))
            continue
        merged, number = where[n], len(blocks) + len(fronts)
        own = sorted(m for m in around if where[m] <= merged)
        rest = sorted(around.difference(own))
        parts = {part: unknowns.pop(part) for part in sorted(merged)}
        front = _front([known[m] for m in own], [known[m] for m in rest], parts, border=border)
        fronts.append(front)
        for part in merged:
            del pieces[part]
        for m in own:
            del where[m]
        pieces[number], unknowns[number] = set(rest), front.rest
        for m in rest:
            where[m] = (where[m] - merged) | {number}
    return Plan(tuple(fronts), tuple(sorted(pieces)), border)


def _around(node: int, where: dict[int, set[int]], pieces: dict[int, set[int]]) -> set[int]:
    """The nodes of all pieces that know a node, itself included."""
    return {node}.union(*(pieces[part] for part in where[node]))


def _front(
    own: list[np.ndarray], rest: list[np.ndarray], parts: dict[int, np.ndarray], *, border: int
) -> Front:
    """The front over the unknowns of some nodes that sums some parts, given theirs."""
    empty = np.zeros(0, np.int64)
    first, last = np.concatenate([empty, *own]), np.concatenate([empty, *rest])
    every = np.concatenate([first, last])
    order = np.argsort(every)
    edge = len(every) + np.arange(border)
    runs = {}
    for part, index in parts.items():
        rows = np.concatenate([order[np.searchsorted(every, index, sorter=order)], edge])
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        runs[part] = tuple(
            (slice(rows[a], rows[a] + b - a), slice(a, b))
            for a, b in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True)
        )
    return Front(first, last, tuple(runs.items()))


@dataclass(frozen=True)
class Factor:
    """The eliminated system."""

    plan: Plan
    rows: tuple[tuple[Tensor, Tensor], ...]
    """Of each front the Cholesky factor (K, K), and its solve of the rows (K, M + border)."""
    border: np.ndarray
    """What is left of the border (B, B)."""

    def solve(self, border: np.ndarray) -> np.ndarray:
        """(n,) unknowns for which the system gives zero, with the border (B,) given."""
        found = np.zeros(sum(len(front.own) for front in self.plan.fronts))
        for front, (factor, rows) in zip(
            reversed(self.plan.fronts), reversed(self.rows), strict=True
        ):
            right = rows @ torch.tensor(np.concatenate([found[front.rest], border]))
            own = torch.linalg.solve_triangular(factor.mT, -right[:, None], upper=True)
            found[front.own] = own[:, 0].numpy()
        return found


def factorise(plan: Plan, blocks: Sequence[np.ndarray], diagonal: np.ndarray) -> Factor:
    """Eliminate all unknowns but the border.

    Args:
        plan: For blocks over the same unknowns.
        blocks: Symmetric matrices over the unknowns of each block and the border.
        diagonal: (n,) added to the diagonal.

    Raises:
        numpy.linalg.LinAlgError: The system is not positive definite.
    """
    left: dict[int, np.ndarray] = dict(enumerate(blocks))
    rows = []
    for number, front in enumerate(plan.fronts, start=len(blocks)):
        k = len(front.own)
        size = k + len(front.rest) + plan.border
        # Torch's memory is aligned, which BLAS needs to give the same bits every time.
        square = torch.zeros(size, size, dtype=torch.float64)
        whole = square.numpy()
        for part, runs in front.parts:
            block = left.pop(part)
            for to, at in runs:
                for to_column, at_column in runs:
                    whole[to, to_column] += block[at, at_column]
        whole[range(k), range(k)] += diagonal[front.own]
        # By torch, which keeps to the threads that it is told; a second one only waits here.
        factor, fault = torch.linalg.cholesky_ex(square[:k, :k])
        if int(fault):
            raise np.linalg.LinAlgError(f"front of {k} unknowns")
        across = torch.linalg.solve_triangular(factor, square[:k, k:], upper=False)
        left[number] = torch.addmm(square[k:, k:], across.mT, across, alpha=-1).numpy()
        rows.append((factor, across))
    border = np.zeros((plan.border, plan.border))
    for part in plan.roots:
        border += left[part]
    return Factor(plan, tuple(rows), border)
