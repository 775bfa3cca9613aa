"""An exact little world of a few cameras, in which one square moves on its own."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from align3r.flow.warp import pixel_grid
from align3r.geometry.cameras import ego_flow, image_centre, rays
from align3r.motion.resection import Pinhole
from align3r.types import PairFlows, PairPredictions, Solution

SHAPE = (72, 96)
CENTRE = image_centre((96, 72))
FOCAL = 85.0
CAMERA = Pinhole(FOCAL, CENTRE, SHAPE)


def rigid(turn: tuple[float, ...], shift: tuple[float, ...]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array(turn, float))[0]
    pose[:3, 3] = shift
    return pose


def hill(frame: int) -> np.ndarray:
    """(h, w) smooth depth of a frame; each has its own, for only the flow links them."""
    u, v = np.moveaxis(pixel_grid(*SHAPE), -1, 0)
    return 3 + 0.8 * np.sin(0.07 * u + frame) + 0.6 * np.cos(0.09 * v - frame) + 0.01 * v


@dataclass(frozen=True)
class World:
    """Pairs of frames with their flow; one square moves on its own."""

    predictions: PairPredictions
    flows: PairFlows
    moving: np.ndarray
    solution: Solution
    """Exact, in a unit of its own."""


def world(
    n: int = 4, *, object_px: float = 6.0, noise: float = 0.0, edges: np.ndarray | None = None
) -> World:
    """n cameras on a walk.

    Args:
        n: Frames.
        object_px: How far the square moves a frame, pixels.
        noise: Relative depth error of each prediction, smooth; also of pose, in radians.
        edges: All i < j if not given.
    """
    rng = np.random.default_rng(5)
    if edges is None:
        edges = np.array([(i, j) for i in range(n) for j in range(i + 1, n)])
    cam = [
        rigid((0.01 * k, -0.03 * k, 0.01 * k), (-0.08 * k, 0.02 * k, -0.03 * k)) for k in range(n)
    ]
    moving = np.zeros((n, *SHAPE), bool)
    moving[:, 20:50, 30:55] = True
    points = np.empty((len(edges), 2, *SHAPE, 3), np.float32)
    flow = np.empty((2, len(edges), *SHAPE, 2), np.float32)
    for row, (i, j) in enumerate(edges.tolist()):
        for side, (a, b) in enumerate(((i, j), (j, i))):
            b_from_a = cam[b] @ np.linalg.inv(cam[a])
            flow[side, row], _ = ego_flow(1 / hill(a).astype(np.float32), b_from_a, FOCAL, CENTRE)
            flow[side, row][moving[a]] += (0.8 * (b - a) * object_px, -0.6 * (b - a) * object_px)
            error = 1 + noise * cv2.resize(rng.normal(size=(3, 4)), SHAPE[::-1])
            in_a = rays(SHAPE, FOCAL, CENTRE) * (hill(a) * error)[..., None]
            i_from_a = cam[i] @ np.linalg.inv(cam[a])
            if side:
                i_from_a = i_from_a @ rigid(tuple(0.5 * noise * rng.normal(size=3)), (0, 0, 0))
            points[row, side] = in_a @ i_from_a[:3, :3].T + i_from_a[:3, 3]
        points[row] *= np.exp(0.3 * rng.normal())
    inside = [
        (
            (pixel_grid(*SHAPE) + f >= 0) & (pixel_grid(*SHAPE) + f <= np.subtract(SHAPE[::-1], 1))
        ).all(-1)
        for f in flow
    ]
    predictions = PairPredictions(
        edges, torch.from_numpy(points), torch.full((len(edges), 2, *SHAPE), 9.0), CENTRE
    )
    flows = PairFlows(edges, flow[0], flow[1], inside[0], inside[1])
    return World(predictions, flows, moving, exact(cam))


def exact(cam_from_world: list[np.ndarray]) -> Solution:
    """What an aligner would find if nothing were wrong, a thousand times as large."""
    pose = np.linalg.inv(np.stack(cam_from_world))
    pose[:, :3, 3] *= 1000
    depth = 1000 * np.stack([hill(k) for k in range(len(pose))]).astype(np.float32)
    return Solution(pose, np.full(len(pose), FOCAL), CENTRE, depth, np.ones_like(depth))


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())
