"""A small world with exact truth: cameras before a wavy wall, and pair predictions of it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from align3r.types import PairFlows, PairPredictions

Edges = list[tuple[int, int]]


@dataclass(frozen=True)
class World:
    """N cameras, their depth maps, and what a predictor and a flow say about pairs of them."""

    world_from_cam: np.ndarray
    focal: float
    depth: np.ndarray
    predictions: PairPredictions
    flows: PairFlows


def make_world(
    n: int = 4,
    edges: Edges | None = None,
    *,
    size: tuple[int, int] = (40, 30),
    noise: float = 0.0,
    step: float = 0.12,
    aspect: float = 1.0,
    zoom: float = 0.0,
    seed: int = 0,
) -> World:
    """A world of n frames; `noise` is the log-depth error of a prediction (0: exact).

    Args:
        n: Frames.
        edges: Pairs; all (i, j) with i < j if not given.
        size: (width, height).
        noise: Standard deviation of the smooth log-depth error of each prediction; the poses
            within pairs and the flow are wrong in proportion.
        step: Camera step in units of about a quarter of the depth.
        aspect: Horizontal over vertical focal length.
        zoom: The focal length grows by this share from frame to frame.
        seed: Of everything random.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    focal = 0.9 * width
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    edges = [(i, j) for i in range(n) for j in range(i + 1, n)] if edges is None else edges
    poses = np.stack([_camera(i, step, rng) for i in range(n)])
    v, u = np.mgrid[:height, :width].astype(float)
    pixels = np.stack([u, v], -1)
    lenses = [focal * (1 + zoom) ** i / np.array([1.0, aspect]) for i in range(n)]
    flat = np.ones((height, width, 1))
    rays = [np.concatenate([(pixels - centre) / lens, flat], -1) for lens in lenses]
    depth = np.stack([_wall_depth(*seen) for seen in zip(poses, rays, strict=True)])
    points, confidence, there, back = [], [], [], []
    for i, j in edges:
        pair_scale = np.exp(0.3 * rng.standard_normal())
        first = np.linalg.inv(poses[i]) @ poses[j]
        first[:3, :3] = first[:3, :3] @ cv2.Rodrigues(0.2 * noise * rng.standard_normal(3))[0]
        error = noise * np.stack([_smooth(rng, size), _smooth(rng, size)])
        near = depth[i] * np.exp(error[0])
        far = depth[j] * np.exp(error[1])
        both = np.stack([rays[i] * near[..., None], rays[j] * far[..., None] @ first[:3, :3].T])
        both[1] += first[:3, 3]
        points.append(pair_scale * both / 4)
        confidence.append(1 + 9 * np.exp(-np.abs(error) / 0.05))
        for a, b, store in ((i, j, there), (j, i, back)):
            seen = np.linalg.inv(poses[b]) @ poses[a]
            moved = rays[a] * depth[a][..., None] @ seen[:3, :3].T + seen[:3, 3]
            flow = lenses[b] * moved[..., :2] / moved[..., 2:] + centre - pixels
            store.append(flow + noise * rng.standard_normal(flow.shape))
    valid = np.ones((len(edges), height, width), bool)
    numbers = np.array(edges, np.int64)
    return World(
        world_from_cam=np.linalg.inv(poses[0]) @ poses,
        focal=focal,
        depth=depth,
        predictions=PairPredictions(
            edges=numbers,
            points=torch.from_numpy(np.stack(points)).float(),
            confidence=torch.from_numpy(np.stack(confidence)).float(),
            principal_point=(float(centre[0]), float(centre[1])),
        ),
        flows=PairFlows(
            edges=numbers,
            forward=np.stack(there).astype(np.float32),
            backward=np.stack(back).astype(np.float32),
            forward_valid=valid,
            backward_valid=valid,
        ),
    )


def _camera(i: int, step: float, rng: np.random.Generator) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(step * np.array([0.05 * np.sin(i), -0.2 * i, 0.03 * i]))[0]
    pose[:3, 3] = step * np.array([i, 0.3 * np.sin(i), 0.2 * i])
    pose[:3, 3] += 0.1 * step * rng.standard_normal(3)
    return pose


def _wall_depth(world_from_cam: np.ndarray, rays: np.ndarray) -> np.ndarray:
    """Depth of the wall z = 4 + waves, by fixed point along the rays."""
    direction = rays @ world_from_cam[:3, :3].T
    origin = world_from_cam[:3, 3]
    depth = np.full(rays.shape[:2], 4.0)
    for _ in range(100):
        x, y, _ = np.moveaxis(origin + direction * depth[..., None], -1, 0)
        wall = 4 + 0.5 * np.sin(1.3 * x + 0.5) * np.cos(1.1 * y) + 0.2 * x
        depth = (wall - origin[2]) / direction[..., 2]
    return depth


def _smooth(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    field = rng.standard_normal((4, 5)).astype(np.float32)
    return cv2.resize(field, size, interpolation=cv2.INTER_CUBIC).astype(float)


def path_error(world: World, world_from_cam: np.ndarray) -> float:
    """Largest distance of camera centres after the best scale, relative to the path's extent.

    Both paths begin at the origin with no turn, so only the scale is free.
    """
    truth, found = world.world_from_cam[:, :3, 3], world_from_cam[:, :3, 3]
    scale = (truth * found).sum() / (found * found).sum()
    return float(np.abs(scale * found - truth).max() / np.ptp(truth, axis=0).max())


def depth_error(world: World, depth: np.ndarray) -> float:
    """Mean relative depth error after one scale for all frames."""
    scale = np.median(world.depth / depth)
    return float(np.mean(np.abs(scale * depth - world.depth) / world.depth))
