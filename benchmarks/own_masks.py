"""Motion masks and valid flow as a reconstruction would find them, not as the generator knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from align3r.config import MotionOptions
from align3r.flow.warp import consistent
from align3r.motion.ego_motion import moving_masks
from align3r.motion.solved import solved_masks
from align3r.types import PairFlows, PairPredictions, Solution

THRESHOLD = MotionOptions().threshold


def own_flows(flows: PairFlows) -> PairFlows:
    """The same flows, valid where there and back ends where it began."""
    forward_valid, backward_valid = flows.forward_valid.copy(), flows.backward_valid.copy()
    for row in range(len(flows.edges)):
        there = flows.forward[row].astype(np.float32)
        back = flows.backward[row].astype(np.float32)
        forward_valid[row] = consistent(there, back)
        backward_valid[row] = consistent(back, there)
    return replace(flows, forward_valid=forward_valid, backward_valid=backward_valid)


def own_masks(
    predictions: PairPredictions,
    flows: PairFlows,
    n_frames: int,
    threshold: float = THRESHOLD,
    *,
    solution: Solution | None = None,
) -> np.ndarray:
    """(N, h, w) bool: what does not move; a first guess, or from a solution if there is one."""
    if solution is None:
        return ~moving_masks(predictions, flows, n_frames, threshold)
    return ~solved_masks(solution, flows, threshold, aspect=predictions.aspect)


def mask_iou(static: np.ndarray, truly_moving: np.ndarray) -> float:
    """Overlap of what is found and what is true to move."""
    return float((~static & truly_moving).sum() / (~static | truly_moving).sum())
