"""A scene with exact maps for exports: a wall, a ledge before it, and a tile that flies past."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from align3r.io.maps import ArrayMaps
from align3r.reconstruction import Reconstruction

SIZE = (96, 72)
WALL, TILE = 4.0, 2.0
"""Depths of the wall and of the tile, in the first camera's z."""


def small_world(
    n: int = 5, *, moving: bool = True, still_frame: int | None = None
) -> Reconstruction:
    """N frames of a camera that goes and turns, with focal lengths and a centre of its own.

    The wall is the plane z = 4 of the world, the tile a part of the plane z = 2 that moves to the
    right. Times are uneven, and do not begin at zero. Nothing moves in `still_frame`.
    """
    poses = np.repeat(np.eye(4)[None], n, axis=0)
    for i in range(n):
        poses[i, :3, :3] = cv2.Rodrigues(np.array([0.02, -0.05, 0.03]) * i)[0]
        poses[i, :3, 3] = (0.10 * i, -0.05 * i, 0.08 * i)
    k = np.array([[88.0, 0, 50.0], [0, 84.0, 33.0], [0, 0, 1]])
    intrinsics = np.repeat(k[None], n, axis=0)
    maps = [
        _maps(poses[i], k, tile_at=-0.5 + 0.2 * i if moving and i != still_frame else None)
        for i in range(n)
    ]
    depth, confidence, mask, images = (np.stack(parts) for parts in zip(*maps, strict=True))
    return Reconstruction(
        world_from_cam=poses,
        intrinsics=intrinsics,
        times=2.5 + np.cumsum(np.where(np.arange(n) % 2, 0.1, 0.15)),
        frame_index=np.arange(n) * 3,
        size=SIZE,
        maps=ArrayMaps(
            depth=depth, confidence=confidence, moving=mask, images=images, source_size=SIZE
        ),
        scale="known-camera",
    )


def project(
    scene: Reconstruction, i: int, world: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns, rows and z of world points in frame i, by the textbook."""
    cam_from_world = np.linalg.inv(scene.world_from_cam[i])
    cam = world @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    k = scene.intrinsics[i]
    with np.errstate(divide="ignore", invalid="ignore"):
        u = k[0, 0] * cam[:, 0] / cam[:, 2] + k[0, 2]
        v = k[1, 1] * cam[:, 1] / cam[:, 2] + k[1, 2]
    return u, v, cam[:, 2]


def with_maps(scene: Reconstruction, **changed: np.ndarray) -> Reconstruction:
    """The same scene with other maps."""
    n = range(len(scene))
    maps = {
        "depth": np.stack([scene.depth(i) for i in n]),
        "confidence": np.stack([scene.confidence(i) for i in n]),
        "moving": np.stack([scene.moving(i) for i in n]),
        "images": np.stack([scene.image(i) for i in n]),
    }
    return dataclasses.replace(scene, maps=ArrayMaps(**{**maps, **changed}, source_size=scene.size))


def _maps(
    pose: np.ndarray, k: np.ndarray, *, tile_at: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    width, height = SIZE
    v, u = np.mgrid[:height, :width]
    rays = np.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], np.ones(u.shape)], -1)
    in_world = rays @ pose[:3, :3].T
    depth = (WALL - pose[2, 3]) / in_world[..., 2]
    place = pose[:3, 3] + in_world * depth[..., None]
    moving = np.zeros(depth.shape, bool)
    if tile_at is not None:
        near = (TILE - pose[2, 3]) / in_world[..., 2]
        there = pose[:3, 3] + in_world * near[..., None]
        moving = (np.abs(there[..., 0] - tile_at) < 0.25) & (np.abs(there[..., 1]) < 0.2)
        depth = np.where(moving, near, depth)
    # The colour of the wall tells the place on it; the tile is green.
    red, blue = (np.clip(128 + 60 * place[..., axis], 0, 255) for axis in (0, 1))
    image = np.stack([red, np.where(moving, 250, 20), blue], -1).astype(np.uint8)
    image[moving] = (10, 250, 10)
    depth[:2, :3] = np.nan
    # Better towards the middle; what moves is unsure.
    middle = np.hypot((u - width / 2) / width, (v - height / 2) / height)
    confidence = np.where(moving, 1.05, 6 - 5 * middle)
    return depth.astype(np.float32), confidence.astype(np.float32), moving, image
