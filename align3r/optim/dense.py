"""From the solved pixels to depth and confidence of every pixel, as each parametrisation has it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from align3r.io.storage import Storage
from align3r.optim.depth import between_samples, full_depth
from align3r.optim.sampling import Grid
from align3r.optim.stages import Scene
from align3r.optim.state import Estimate
from align3r.optim.surface import spline_depth
from align3r.types import PairPredictions

Finish = Callable[[int, np.ndarray], np.ndarray]
"""(h, w) depth of a frame from its number and from what the pairs alone say."""


def dense_maps(
    estimate: Estimate,
    scene: Scene,
    predictions: PairPredictions,
    prior: np.ndarray | None,
    *,
    centred: Tensor,
    storage: Storage | None,
) -> tuple[np.ndarray, np.ndarray]:
    """(N, h, w) float32 depth and confidence at full size.

    Args:
        estimate: The solution at the pixels that take part.
        scene: What was solved.
        predictions: All pairs.
        prior: (N, h, w) prior depth, where the geometry needs one.
        centred: (N, 2, h * w) every pixel minus the principal point.
        storage: Gives out the two arrays; None: main memory.
    """
    depth, confidence = full_depth(predictions, estimate, centred, storage=storage)
    finish = _finish(estimate, scene, prior)
    if finish is not None:
        for frame in range(len(depth)):
            depth[frame] = finish(frame, depth[frame])
    return depth, confidence


def _finish(estimate: Estimate, scene: Scene, prior: np.ndarray | None) -> Finish | None:
    """What the solution knows beyond the pairs."""
    surface, grid = scene.surface, scene.grid
    if surface.basis is not None and prior is not None:
        field = surface.to(torch.float64).field(estimate.depth).cpu().numpy()
        return lambda frame, _: spline_depth(field[frame], prior[frame], scene.options.cells)
    if scene.options.geometry == "scale" and prior is not None:
        ratio = (estimate.depth / surface.prior).log().cpu().numpy()
        return lambda frame, _: prior[frame] * np.exp(between_samples(ratio[frame], grid))
    if grid.full:
        solved = estimate.depth.float().cpu().numpy()
        return lambda frame, _: solved[frame].reshape(grid.size)
    if scene.flows is not None and scene.options.flow_weight > 0:
        solved = estimate.depth.cpu().numpy()
        return lambda frame, of_pairs: as_solved(solved[frame], of_pairs, grid)
    return None


def as_solved(solved: np.ndarray, of_pairs: np.ndarray, grid: Grid) -> np.ndarray:
    """(h, w) depth of the pairs, moved as flow has moved the pixels that were solved (P,)."""
    moved = np.log(solved / of_pairs.reshape(-1)[grid.index])
    return np.asarray(of_pairs * np.exp(between_samples(moved, grid)))
