"""Point clouds as binary PLY, in OpenCV axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from align3r.export_options import ExportOptions
from align3r.io.clouds import (
    frame_stride,
    moving_cloud_of,
    static_cloud,
    static_cloud_of,
    warn_of_no_points,
)
from align3r.io.thinning import join, most_confident
from align3r.reconstruction import Reconstruction

_XYZ = tuple((axis, "<f4") for axis in "xyz")
_RGB = tuple((colour, "u1") for colour in ("red", "green", "blue"))
_NAMES = {"<f4": "float", "|u1": "uchar"}


def write_ply(
    scene: Reconstruction, path: Path, *, max_points: int = 1_000_000, min_confidence: float = 1.5
) -> None:
    """Write the static scene: `max_points` points spread over it, or all if there are fewer.

    Raises:
        OSError: The file cannot be written.
    """
    cloud = static_cloud(scene, max_points=max_points, min_confidence=min_confidence)
    write_points_ply(cloud.points, cloud.colours, path)


def write_ply_frames(
    scene: Reconstruction, folder: Path, *, max_points: int = 100_000, min_confidence: float = 1.5
) -> None:
    """Write what every frame sees as `folder`/000000.ply ..., all in the one world.

    Beside position and colour, a point has its `confidence` (float) and whether it is `moving`
    (uchar, 0 or 1). Static points have at least `min_confidence`; moving points are all there,
    whatever theirs. Files are numbered by position in the result, as depth and images are.

    Raises:
        OSError: A file cannot be written.
    """
    stride, total = frame_stride(scene, max_points=max_points), 0
    for i in range(len(scene)):
        moving = moving_cloud_of(scene, i, max_points=max_points)
        static = static_cloud_of(scene, i, stride=stride, min_confidence=min_confidence)
        cloud = most_confident(static, max_points - len(moving)), moving
        both = join(list(cloud))
        total += len(static)
        flags = np.repeat(np.array([0, 1], np.uint8), [len(part) for part in cloud])
        write_points_ply(
            both.points,
            both.colours,
            folder / f"{i:06d}.ply",
            confidence=both.confidence,
            moving=flags,
        )
    if not total:
        warn_of_no_points(min_confidence)


def export_ply(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    """`write_ply` as a row of the table of exports."""
    write_ply(scene, path, max_points=options.max_points, min_confidence=options.min_confidence)


def export_ply_frames(scene: Reconstruction, folder: Path, options: ExportOptions) -> None:
    """`write_ply_frames` as a row of the table of exports."""
    write_ply_frames(
        scene,
        folder,
        max_points=options.max_frame_points,
        min_confidence=options.min_confidence,
    )


def write_points_ply(
    points: np.ndarray, colours: np.ndarray, path: Path, **more: np.ndarray
) -> None:
    """Write points (M, 3) in world coordinates with colours (M, 3) uint8 RGB.

    Args:
        points: Any float; written as float32.
        colours: uint8.
        path: The file.
        **more: Further properties (M,) by name, float32 or uint8.

    Raises:
        OSError: The file cannot be written.
    """
    extra = [(name, values.dtype.newbyteorder("<").str) for name, values in more.items()]
    layout = np.dtype([*_XYZ, *_RGB, *extra])
    vertices = np.empty(len(points), layout)
    for column, (name, _) in enumerate(_XYZ):
        vertices[name] = points[:, column]
    for column, (name, _) in enumerate(_RGB):
        vertices[name] = colours[:, column]
    for name, values in more.items():
        vertices[name] = values
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment align3r: OpenCV axes, x right, y down, z forward",
        f"element vertex {len(points)}",
        *(f"property {_NAMES[layout[name].str]} {name}" for name in layout.names or ()),
        "end_header",
    ]
    path.write_bytes("\n".join(header).encode("ascii") + b"\n" + vertices.tobytes())
