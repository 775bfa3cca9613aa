"""A result that is exactly true, to be exported, and the question whether what was exported is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from render import rendered
from scipy.spatial.transform import Rotation

from align3r.reconstruction import Reconstruction

WALL_CONFIDENCE = 5.0


@dataclass(frozen=True)
class TrueMaps:
    """Maps of a rendered clip; the images are half as large as the source."""

    depths: np.ndarray
    masks: np.ndarray
    images: np.ndarray

    def depth(self, i: int) -> np.ndarray:
        return self.depths[i].copy()

    def confidence(self, i: int) -> np.ndarray:
        return np.full(self.depths[i].shape, WALL_CONFIDENCE, np.float32)

    def moving(self, i: int) -> np.ndarray:
        return self.masks[i]

    def image(self, i: int) -> np.ndarray:
        height, width = self.images[i].shape[:2]
        half = (width // 2, height // 2)
        return np.asarray(cv2.resize(self.images[i], half, interpolation=cv2.INTER_AREA))


@dataclass(frozen=True)
class Loaded:
    """What a reader made of an export, brought to the conventions of this file.

    Pixels: centre of the top-left pixel (0, 0). Cameras: OpenCV axes.
    """

    images: list[np.ndarray]
    k: np.ndarray
    world_from_cam: np.ndarray
    depths: list[np.ndarray]
    ignored: list[np.ndarray]


def true_scene(
    source: Path | None = None, *, n: int = 8, crop: tuple[int, int, int, int] = (12, 4, 192, 144)
) -> Reconstruction:
    """Part (left, top, right, bottom) of a rendered walk, in a world that is no camera's own.

    Args:
        source: Folder to write the frames to, as PNG; the scene knows it.
        n: Frames.
        crop: What is cut out, so that the principal point is not in the middle.
    """
    clip = rendered("walk", n_frames=8, size=(192, 144))
    left, top, right, bottom = crop
    part = (slice(n), slice(top, bottom), slice(left, right))
    maps = TrueMaps(clip.depth[part].copy(), clip.moving[part], clip.images[part])
    k = clip.k.copy()
    k[:2, 2] -= (left, top)
    world_from_cam0 = np.eye(4)
    world_from_cam0[:3, :3] = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()
    world_from_cam0[:3, 3] = (3.0, -1.0, 2.0)
    info = {"source": "room.mp4"}
    if source is not None:
        source.mkdir(parents=True)
        for i, image in enumerate(maps.images):
            cv2.imwrite(str(source / f"{i}.png"), image[..., ::-1])
        info["source_path"] = str(source)
    return Reconstruction(
        world_from_cam=world_from_cam0 @ clip.world_from_cam[:n],
        intrinsics=np.repeat(k[None], n, axis=0),
        times=clip.times[:n],
        frame_index=np.arange(n),
        size=(right - left, bottom - top),
        maps=maps,
        scale="known-camera",
        info=info,
    )


def assert_views_agree(loaded: Loaded, *, depth_error: float = 0.01) -> None:
    """Points that one view unprojects are where other views have them, and look the same.

    Args:
        loaded: N >= 2 views.
        depth_error: Median relative difference that is due to the format of the depth.
    """
    n = len(loaded.k)
    for a, b in [(0, 1), (0, n - 1), (n - 1, n // 2)]:
        depth = loaded.depths[a]
        v, u = np.nonzero(np.isfinite(depth) & ~loaded.ignored[a])
        rays = np.stack([u, v, np.ones_like(u)]) * depth[v, u]
        world = _moved(loaded.world_from_cam[a], np.linalg.inv(loaded.k[a]) @ rays)
        in_b = loaded.k[b] @ _moved(np.linalg.inv(loaded.world_from_cam[b]), world)
        pixel, z = np.rint(in_b[:2] / in_b[2]).astype(int), in_b[2]
        height, width = loaded.depths[b].shape
        there = (z > 0) & (pixel[0] >= 0) & (pixel[0] < width)
        there &= (pixel[1] >= 0) & (pixel[1] < height)
        assert there.mean() > 0.5, "the views look at the same room"
        column, row = pixel[:, there]
        off = np.abs(loaded.depths[b][row, column] / z[there] - 1)
        seen = (off < 0.05) & ~loaded.ignored[b][row, column]
        assert seen.mean() > 0.85, "hidden parts are few"
        assert np.median(off[seen]) < depth_error
        here = loaded.images[a][v[there], u[there]][seen].astype(int)
        apart = np.abs(here - loaded.images[b][row, column][seen])
        assert np.median(apart) < 12, "the same things have the same colours"


def _moved(pose: np.ndarray, points: np.ndarray) -> np.ndarray:
    return np.asarray(pose[:3, :3] @ points + pose[:3, 3:])
