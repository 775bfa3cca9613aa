"""Scenes that are hard on purpose, and what to measure on their reconstructions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from render import Clip, rendered

import align3r
from align3r.config import AlignOptions, InputOptions, Options
from align3r.datasets.rendered.paints import patches
from align3r.datasets.rendered.poses import intrinsics, look, still
from align3r.datasets.rendered.raycast import Solid
from align3r.datasets.rendered.room import build_room
from align3r.datasets.rendered.shading import cast
from align3r.evaluate.metrics import depth_errors, mask_iou, path_length, trajectory_errors
from align3r.reconstruction import Reconstruction

SIZE = (256, 192)
POSTER = [(0.92, 0.86, 0.70), (0.80, 0.25, 0.16), (0.12, 0.24, 0.42), (0.95, 0.70, 0.20)]
Camera = Callable[[float], np.ndarray]


def clip_of(solids: list[Solid], camera: Camera, n: int, *, size: tuple[int, int] = SIZE) -> Clip:
    """A still scene, seen by a camera whose pose is a function of the part of the clip, 0 to 1."""
    k, times = intrinsics(size), np.arange(n) / 12
    poses = np.stack([camera(i / max(n - 1, 1)) for i in range(n)])
    images, depths, masks = zip(
        *(cast(solids, pose, k, size=size, t=0.0) for pose in poses), strict=True
    )
    return Clip(
        np.rint(255 * np.stack(images)).astype(np.uint8),
        np.stack(depths).astype(np.float32),
        np.stack(masks),
        np.linalg.inv(poses[0]) @ poses,
        k,
        times,
    )


def wall(seed: int = 3) -> list[Solid]:
    """Nothing but a poster, 3 m away."""
    return [Solid("box", (30, 30, 0.02), patches(POSTER, seed=seed, coarse=0.3), still((0, 0, 3)))]


def past_the_wall(s: float) -> np.ndarray:
    return look(np.array([-0.6 + 1.2 * s, 0.1 * s, 0.3 * s]), np.array([0.2 - 0.4 * s, 0, 3.0]), 0)


def wall_clip(n: int = 10) -> Clip:
    return clip_of(wall(), past_the_wall, n)


def forward_clip(n: int = 10) -> Clip:
    """Straight ahead: the focal length hardly shows."""

    def camera(s: float) -> np.ndarray:
        return look(np.array([-0.2 + 0.02 * s, 0, -1.4 + 1.3 * s]), np.array([0.1, 0.1, 6.0]), 0)

    return clip_of(build_room(moving=False), camera, n)


def walk_clip(n: int = 12, **options: Any) -> Clip:
    """A hand-held walk with moving things."""
    return rendered("walk", **{"n_frames": n, "size": SIZE, "fps": 6.0, **options})


def first(clip: Clip, chosen: slice | list[int]) -> Clip:
    """Some frames of a clip."""
    poses = clip.world_from_cam[chosen]
    return Clip(
        clip.images[chosen],
        clip.depth[chosen],
        clip.moving[chosen],
        np.linalg.inv(poses[0]) @ poses,
        clip.k,
        clip.times[chosen],
    )


def painted(clip: Clip, change: Callable[[np.ndarray], np.ndarray]) -> Clip:
    """The clip with every image changed."""
    images = [np.clip(change(image.astype(np.float32)), 0, 255) for image in clip.images]
    return replace(clip, images=np.stack(images).astype(np.uint8))


def reconstruct(images: np.ndarray, folder: Path, **options: Any) -> Reconstruction:
    """The whole pipeline on these images at their own size; N in, N out, everything finite."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{i:04d}.png" for i in range(len(images))]
    for image, path in zip(images, paths, strict=True):
        assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    size = min(512, max(images.shape[1:3]))
    given = {"input": InputOptions(size=size), "align": AlignOptions(steps=100), **options}
    scene = align3r.reconstruct(paths, options=Options(**given))
    assert len(scene) == len(images)
    assert scene.size == (images.shape[2], images.shape[1])
    assert np.isfinite(scene.world_from_cam).all() and np.isfinite(scene.intrinsics).all()
    for i in range(len(scene)):
        assert np.isfinite(scene.depth(i)).all() and (scene.depth(i) > 0).all()
        assert (scene.confidence(i) >= 1).all()
    return scene


@dataclass(frozen=True)
class Figures:
    """How far a reconstruction is from the truth."""

    ate_percent: float
    """Of the path."""
    turn_deg: float
    """Largest rotation error, the first camera being right."""
    focal_percent: float
    abs_rel: float
    iou: float


def figures(scene: Reconstruction, clip: Clip) -> Figures:
    """Compare with the truth."""
    own = np.linalg.inv(scene.world_from_cam[0]) @ scene.world_from_cam
    difference = np.swapaxes(own[:, :3, :3], 1, 2) @ clip.world_from_cam[:, :3, :3]
    cosine = (np.trace(difference, axis1=1, axis2=2) - 1) / 2
    length = path_length(clip.world_from_cam)
    ate = np.nan
    if length > 1e-6 and path_length(own) > 0:
        ate = 100 * trajectory_errors(clip.world_from_cam, own)["ate_m"] / length
    depth = np.stack([scene.depth(i) for i in range(len(scene))])
    moving = np.stack([scene.moving(i) for i in range(len(scene))])
    return Figures(
        ate,
        float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max()),
        float(100 * (scene.intrinsics[:, 0, 0].mean() / clip.k[0, 0] - 1)),
        depth_errors(clip.depth, depth, align="ratio")["abs_rel"],
        mask_iou(clip.moving, moving),
    )


def relative_path(scene: Reconstruction) -> float:
    """Length of the camera's way in units of the median depth."""
    depth = np.median([np.median(scene.depth(i)) for i in range(len(scene))])
    return path_length(scene.world_from_cam) / float(depth)
