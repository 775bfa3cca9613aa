"""The reduced normal equations: which unknowns are free, and a damped step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sparse
import scipy.sparse.linalg
import torch

from align3r.optim.eliminate import Blocks
from align3r.optim.state import Fixed, State
from align3r.optim.tangents import NODE

DENSE_LIMIT = 1500
"""Unknowns up to which the step comes from a dense Cholesky factor, else conjugate gradients."""
CG_TOLERANCE = 1e-8
CG_STEPS = 2000


@dataclass(frozen=True)
class Freedom:
    """The free unknowns: all 7 N + 7 E + 1 are `basis` times them."""

    basis: Any
    """Sparse (7 N + 7 E + 1, n)."""
    node: np.ndarray
    """(n,) node each free unknown belongs to."""


def freedom(state: State, fixed: Fixed, *, shared_focal: bool, anchored: bool = False) -> Freedom:
    """What the step may change.

    Known values have no unknowns, but known places and depths follow the unit. Camera 0 stays where
    it is unless poses are known, exactly or roughly (`anchored`); so does the product of the pair
    scales.
    """
    n_frames, n_pairs = len(state.focal), len(state.pair_scale)
    known = fixed.world_from_cam[:, 0, 0].isfinite().cpu().numpy()
    lens = fixed.focal.isnan().cpu().numpy()
    unit = NODE * (n_frames + n_pairs)
    still = known if known.any() or anchored else np.arange(n_frames) == 0
    rows = (NODE * np.flatnonzero(~still)[:, None] + np.arange(6)).ravel()
    pairs = np.arange(n_frames, n_frames + n_pairs)
    rows = np.concatenate([rows, (NODE * pairs[:, None] + np.arange(6)).ravel()])
    scales = NODE * pairs + 6
    rows = np.concatenate([rows, scales[:-1]])
    columns, values = np.arange(len(rows)), np.ones(len(rows))
    nodes, count = rows // NODE, len(rows)
    last = np.arange(count - (n_pairs - 1), count)
    entries = [(rows, columns, values), (np.full(len(last), scales[-1]), last, -np.ones(len(last)))]
    focal = NODE * np.flatnonzero(lens) + 6
    if len(focal):
        own = np.zeros(len(focal), int) if shared_focal else np.arange(len(focal))
        entries.append((focal, count + own, np.ones(len(focal))))
        nodes = np.concatenate([nodes, np.full(1, -1) if shared_focal else focal // NODE])
        count = len(nodes)
    if anchored or known.any() or not bool(fixed.depth.isnan().all()):
        place = (state.rotation.mT @ state.translation[..., None])[..., 0].cpu().numpy()[known]
        at = (NODE * np.flatnonzero(known)[:, None] + np.arange(3, 6)).ravel()
        entries.append((at, np.full(len(at), count), place.ravel()))
        entries.append((np.array([unit]), np.array([count]), np.ones(1)))
        nodes, count = np.append(nodes, -2), count + 1
    row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
    basis = sparse.csr_matrix((value, (row, column)), shape=(unit + 1, count))
    return Freedom(basis, nodes)


@dataclass(frozen=True)
class NormalEquations:
    """H x = -g over the free unknowns."""

    hessian: Any
    """Sparse (n, n) float64."""
    gradient: np.ndarray
    """(n,)."""
    free: Freedom

    def step(self, damping: float, *, dense_limit: int = DENSE_LIMIT) -> torch.Tensor | None:
        """(7 N + 7 E + 1,) step of (H + damping diag H) x = -g; None where that has no answer."""
        diagonal = self.hessian.diagonal()
        # An unknown that nothing speaks of stays where it is.
        floor = 1e-9 * max(diagonal.max(initial=0.0), 1e-300)
        damped = self.hessian + sparse.diags(damping * np.maximum(diagonal, floor) + floor * 1e-3)
        try:
            if len(diagonal) <= dense_limit:
                factor = scipy.linalg.cho_factor(damped.toarray(), lower=True, check_finite=False)
                found = scipy.linalg.cho_solve(factor, -self.gradient, check_finite=False)
            else:
                found = _conjugate_gradients(damped, -self.gradient, self.free.node)
        except (np.linalg.LinAlgError, RuntimeError):
            return None
        return torch.from_numpy(self.free.basis @ found)


def _conjugate_gradients(matrix: Any, right: np.ndarray, node: np.ndarray) -> np.ndarray:
    """Solve with the blocks of the nodes as preconditioner."""
    entries = matrix.tocoo()
    same = node[entries.row] == node[entries.col]
    blocks = sparse.csc_matrix(
        (entries.data[same], (entries.row[same], entries.col[same])), shape=matrix.shape
    )
    inverse = scipy.sparse.linalg.splu(blocks)
    found, miss = np.zeros_like(right), right
    way = eased = inverse.solve(miss)
    for _ in range(CG_STEPS):
        if np.linalg.norm(miss) <= CG_TOLERANCE * np.linalg.norm(right):
            break
        bent = matrix @ way
        height = miss @ eased
        length = height / (way @ bent)
        found, miss = found + length * way, miss - length * bent
        eased = inverse.solve(miss)
        way = eased + (miss @ eased) / height * way
    return found


def normal_equations(blocks: Blocks, free: Freedom) -> NormalEquations:
    """Sum the blocks over the free unknowns."""
    rows, columns, values = [], [], []
    for product, index in blocks:
        shape = product.shape
        rows.append(index[..., :, None].expand(shape).reshape(-1).cpu().numpy())
        columns.append(index[..., None, :].expand(shape).reshape(-1).cpu().numpy())
        values.append(product.double().reshape(-1).cpu().numpy())
    size = free.basis.shape[0]
    whole = sparse.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(size + 1, size + 1),
    )
    turned = free.basis.T.tocsr()
    gradient = turned @ whole[:size, size].toarray()[:, 0]
    return NormalEquations(turned @ whole[:size, :size] @ free.basis, gradient, free)
