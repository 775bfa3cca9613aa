"""What a camera sees that looks at the middle of a photograph, as MoGe evaluates depth.

Photographs are cropped, so their principal points are anywhere. The camera is turned to the middle
of the image and given the largest field of view of the wanted aspect that the image fills.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from align3r.datasets.depth_sample import DepthSample
from align3r.errors import InputError
from align3r.geometry.cameras import image_centre, intrinsic_matrix, resize_intrinsics
from align3r.io.images import shrink

_FARTHEST = 1000.0
"""Times the depth that 1 % are nearer than: what is beyond is taken for a mistake."""
_WIDEST = 1e6
"""Width of a field of view at a distance of 1; beyond it and its inverse no camera is meant."""
_LONGEST = 32766
"""Pixels of a side that OpenCV resamples."""


def centred_view(sample: DepthSample, size: tuple[int, int]) -> DepthSample:
    """The sample as a camera sees it that looks at the middle of the image.

    The new camera has square pixels, its principal point is the middle of its image, and nothing
    that it sees lies outside of the old image. It is turned by the smallest rotation there is, so
    horizons may tilt a little. Depth is z-depth of the new camera; depth and segments are those of
    the nearest pixel. Finite depth beyond 1000 times its 1 % quantile becomes nan.

    Args:
        sample: A photograph.
        size: (width, height) of the result.

    Raises:
        InputError: The camera is none that can be turned so, or a side is too long.
    """
    if max(*sample.size, *size) > _LONGEST or min(size) < 1:
        raise InputError(
            f"{sample.name} cannot be brought from {sample.size[0]}x{sample.size[1]} pixels to "
            f"{size[0]}x{size[1]}",
            hint=f"sides have 1 to {_LONGEST} pixels",
        )
    turn = _turn_to_middle(sample)
    focal = _focal(sample, turn, size)
    u, v, z = _source_pixels(sample, turn, focal, size)
    rows = np.clip(np.rint(v), 0, sample.size[1] - 1).astype(np.intp)
    columns = np.clip(np.rint(u), 0, sample.size[0] - 1).astype(np.intp)
    segments = sample.segmentation
    return replace(
        sample,
        image=_resample(sample, u, v, focal),
        # A ray with z = 1 in the new camera has this z in the old one.
        depth=_without_mistakes((sample.depth[rows, columns] / z).astype(np.float32)),
        intrinsics=intrinsic_matrix(focal, image_centre(size)),
        segmentation=None if segments is None else segments[rows, columns],
    )


def _turn_to_middle(sample: DepthSample) -> np.ndarray:
    """(3, 3) smallest rotation that puts the ray through the middle of the image on the z axis."""
    ray = np.linalg.solve(sample.intrinsics, [*image_centre(sample.size), 1.0])
    with np.errstate(over="ignore"):
        x, y, z = ray / np.linalg.norm(ray)
    tilt = np.array([[0.0, 0.0, -x], [0.0, 0.0, -y], [x, y, 0.0]])
    turn: np.ndarray = np.eye(3) + tilt + tilt @ tilt / (1 + z)
    return turn


def _focal(sample: DepthSample, turn: np.ndarray, size: tuple[int, int]) -> float:
    """Focal length, pixels, of the largest field of view inside the old image.

    Each edge of the old image is a line n p = d seen from the new camera; a rectangle with the
    half sides (x, y) around its axis is on the inner side if x |n_x| + y |n_y| <= d.
    """
    right, bottom = sample.size[0] - 0.5, sample.size[1] - 0.5
    pixels = [[-0.5, -0.5, 1], [right, -0.5, 1], [right, bottom, 1], [-0.5, bottom, 1]]
    with np.errstate(all="ignore"):
        corners = np.linalg.solve(sample.intrinsics, np.transpose(pixels)).T @ turn.T
        at = corners[:, :2] / corners[:, 2:]
        along = np.roll(at, -1, axis=0) - at
        normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
        distance = np.abs((normal * at).sum(axis=1))
        half_width = (distance / (np.abs(normal) @ [1.0, size[1] / size[0]])).min()
    if not ((corners[:, 2] > 0).all() and 1 / _WIDEST < half_width < _WIDEST):
        raise InputError(
            f"the camera of {sample.name} has no field of view that could be centred",
            hint="its focal lengths or its principal point do not go with the size of its image",
        )
    return float(size[0] / (2 * half_width))


def _source_pixels(
    sample: DepthSample, turn: np.ndarray, focal: float, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(H, W) column and row in the old image, and z in the old camera of the rays with z = 1."""
    rays_of_pixels = (
        sample.intrinsics @ turn.T @ np.linalg.inv(intrinsic_matrix(focal, image_centre(size)))
    )
    v, u = np.mgrid[: size[1], : size[0]].astype(np.float64)
    x, y, z = np.tensordot(rays_of_pixels, np.stack([u, v, np.ones_like(u)]), axes=1)
    return x / z, y / z, z


def _resample(sample: DepthSample, u: np.ndarray, v: np.ndarray, focal: float) -> np.ndarray:
    """The image at columns u and rows v: averaged first where pixels become fewer."""
    image, k = sample.image, sample.intrinsics
    scale = np.minimum(1.0, focal / np.array([k[0, 0], k[1, 1]]))
    width, height = (max(1, round(side * s)) for side, s in zip(sample.size, scale, strict=True))
    image = shrink(image, (width, height))
    pixels = np.stack([u, v, np.ones_like(u)])
    small = resize_intrinsics(np.eye(3), sample.size, (width, height))
    columns, rows, _ = np.tensordot(small, pixels, axes=1).astype(np.float32)
    return cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def _without_mistakes(depth: np.ndarray) -> np.ndarray:
    known = np.isfinite(depth)
    if known.any():
        depth[known & (depth > _FARTHEST * np.quantile(depth[known], 0.01))] = np.nan
    return depth
