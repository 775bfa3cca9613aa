"""The reduced normal equations: which unknowns are free, and a damped step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from align3r.optim.eliminate import Blocks
from align3r.optim.fronts import Plan, factorise, plan_fronts
from align3r.optim.state import Fixed, State
from align3r.optim.tangents import NODE


@dataclass(frozen=True)
class Freedom:
    """The free unknowns: those of single nodes, and the border that concerns many.

    The scales of all pairs together keep their product. One of them belongs to the border, so that
    the rest has a scale even where the residuals that would hold it are zero.
    """

    inner: np.ndarray
    """(7 N + 7 E + 1,) number of the unknown of a single node, -1 where there is none."""
    border: np.ndarray
    """(7 N + 7 E + 1, B) how the border moves each; the first column is the scale of one pair."""
    scales: np.ndarray
    """Numbers of the inner unknowns that are pair scales."""

    @property
    def node(self) -> np.ndarray:
        """(n,) node of each inner unknown."""
        return np.flatnonzero(self.inner >= 0) // NODE


def freedom(
    state: State,
    fixed: Fixed,
    *,
    pair_weight: np.ndarray,
    shared_focal: bool,
    anchored: bool = False,
) -> Freedom:
    """What the step may change.

    Known values have no unknowns, but known places and depths follow the unit. Camera 0 stays where
    it is unless poses are known, exactly or roughly (`anchored`).

    Args:
        state: For the places that follow the unit.
        fixed: What is known.
        pair_weight: (E,) of all predictions of each pair. The scale of the heaviest belongs to the
            border. Those without any keep their scale: else it would grow, since nothing holds it,
            and all others shrink, since their product is kept.
        shared_focal: One focal length for all frames.
        anchored: Some poses are known roughly.
    """
    n_frames, n_pairs = len(state.focal), len(state.pair_scale)
    known = fixed.world_from_cam[:, 0, 0].isfinite().cpu().numpy()
    lens = fixed.focal.isnan().cpu().numpy()
    single = np.ones((n_frames + n_pairs, NODE), bool)
    still = known if known.any() or anchored else np.arange(n_frames) == 0
    single[:n_frames, :6] = ~still[:, None]
    single[:n_frames, 6] = lens & (not shared_focal)
    pin = int(pair_weight.argmax())
    single[n_frames:, 6] = pair_weight > 0
    single[n_frames + pin, 6] = False
    flat = np.append(single.ravel(), False)
    inner = np.where(flat, np.cumsum(flat) - 1, -1)
    border = np.zeros((n_frames + n_pairs + 1, NODE, 3))
    border[n_frames + pin, 6, 0] = 1.0
    used = np.array([True, shared_focal and bool(lens.any()), False])
    border[:n_frames, 6, 1] = lens
    if anchored or known.any() or not bool(fixed.depth.isnan().all()):
        place = (state.rotation.mT @ state.translation[..., None])[..., 0].cpu().numpy()
        border[:n_frames, 3:6, 2] = np.where(known[:, None], place, 0.0)
        border[-1, 0, 2], used[2] = 1.0, True
    scales = inner[NODE * np.arange(n_frames, n_frames + n_pairs) + 6]
    return Freedom(
        inner=inner,
        border=border.reshape(-1, 3)[: len(inner), used],
        scales=scales[scales >= 0],
    )


@dataclass(frozen=True)
class NormalEquations:
    """H x = -g over the free unknowns, with the pair scales adding up to nothing."""

    blocks: list[np.ndarray]
    """Over inner unknowns, border, residual, and the multiplier of the scales."""
    plan: Plan
    free: Freedom
    diagonal: np.ndarray
    """(n + B,) of H."""

    def step(self, damping: float) -> torch.Tensor | None:
        """(7 N + 7 E + 1,) step of (H + damping diag H) x = -g; None where that has no answer."""
        n, border = len(self.free.node), self.free.border.shape[1]
        # An unknown that nothing speaks of stays where it is.
        floor = 1e-9 * max(self.diagonal.max(initial=0.0), 1e-300)
        extra = damping * np.maximum(self.diagonal, floor) + 1e-3 * floor
        try:
            factor = factorise(self.plan, self.blocks, extra[:n])
            small = factor.border
            small[range(border), range(border)] += extra[n:]
            small[0, -1] += 1.0
            small[-1, 0] += 1.0
            open_to = [*range(border), border + 1]
            found = np.linalg.solve(small[np.ix_(open_to, open_to)], -small[open_to, border])
        except np.linalg.LinAlgError:
            return None
        inner = factor.solve(np.array([*found[:-1], 1.0, found[-1]]))
        own = np.where(self.free.inner >= 0, inner[self.free.inner], 0.0)
        return torch.tensor(own + self.free.border @ found[:-1])


def normal_equations(blocks: Blocks, free: Freedom, plan: Plan | None = None) -> NormalEquations:
    """The blocks over the free unknowns.

    Args:
        blocks: Over all unknowns and the residual.
        free: What the step may change.
        plan: Of earlier normal equations with the same unknowns; else one is made.
    """
    products: list[np.ndarray] = []
    unknowns: list[np.ndarray] = []
    border = free.border.shape[1]
    n = len(free.node)
    # The residual and the multiplier are border, too: a one in the residual's own column.
    edges = np.zeros((len(free.inner) + 1, border + 2))
    edges[:-1, :border], edges[-1, border] = free.border, 1.0
    diagonal, multiplier_of = np.zeros(n + border), np.isin(np.arange(n), free.scales)
    for product, index in _single(blocks):
        inner = np.append(free.inner, -1)[index]
        keep = np.flatnonzero(inner >= 0)
        inner, count = inner[keep], len(keep)
        tail = edges[index]
        # Not by numpy, whose threads would only wait for each other here.
        across = (torch.tensor(product) @ torch.tensor(tail)).numpy()
        whole = np.empty((count + border + 2, count + border + 2))
        whole[:count, :count] = product[np.ix_(keep, keep)]
        whole[:count, count:] = across[keep]
        whole[count:, :count] = across[keep].T
        whole[count:, count:] = tail.T @ across
        # Each pair scale meets the multiplier once, in the first block that knows it.
        meets = np.flatnonzero(multiplier_of[inner])
        whole[meets, -1] = whole[-1, meets] = 1.0
        multiplier_of[inner] = False
        diagonal[inner] += whole.diagonal()[:count]
        diagonal[n:] += whole.diagonal()[count : count + border]
        products.append(whole)
        unknowns.append(inner)
    plan = plan or plan_fronts(unknowns, free.node, border=border + 2)
    return NormalEquations(products, plan, free, diagonal)


def _single(blocks: Blocks) -> list[tuple[np.ndarray, np.ndarray]]:
    """Every product (C, C) with its unknowns (C,), in float64."""
    flat = []
    for product, index in blocks:
        square = product.double().cpu().numpy().reshape(-1, *product.shape[-2:])
        flat += list(zip(square, index.cpu().numpy().reshape(-1, index.shape[-1]), strict=True))
    return flat
