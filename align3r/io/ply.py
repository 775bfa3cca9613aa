"""Point clouds as binary PLY, in OpenCV axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from align3r.config import ExportOptions
from align3r.reconstruction import Reconstruction

_VERTEX = np.dtype(
    [(axis, "<f4") for axis in "xyz"] + [(colour, "u1") for colour in ("red", "green", "blue")]
)


def write_ply(
    scene: Reconstruction,
    path: Path,
    *,
    max_points: int = 1_000_000,
    min_confidence: float = 1.5,
    seed: int = 0,
) -> None:
    """Write the static, confident points of all frames, thinned at random to `max_points`.

    Raises:
        OSError: The file cannot be written.
    """
    rng = np.random.default_rng(seed)
    points, colours = static_points(
        scene, max_points=max_points, min_confidence=min_confidence, rng=rng
    )
    write_points_ply(points, colours, path)


def export_ply(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    """`write_ply` as a row of the table of exports."""
    write_ply(
        scene,
        path,
        max_points=options.max_points,
        min_confidence=options.min_confidence,
        seed=options.seed,
    )


def write_points_ply(points: np.ndarray, colours: np.ndarray, path: Path) -> None:
    """Write points (M, 3) in world coordinates with colours (M, 3) uint8 RGB.

    Raises:
        OSError: The file cannot be written.
    """
    vertices = np.empty(len(points), _VERTEX)
    for column, name in enumerate("xyz"):
        vertices[name] = points[:, column]
    for column, name in enumerate(("red", "green", "blue")):
        vertices[name] = colours[:, column]
    properties = [f"property float {axis}" for axis in "xyz"]
    properties += [f"property uchar {colour}" for colour in ("red", "green", "blue")]
    header = [
        "ply",
        "format binary_little_endian 1.0",
        "comment align3r: OpenCV axes, x right, y down, z forward",
        f"element vertex {len(points)}",
        *properties,
        "end_header",
    ]
    path.write_bytes("\n".join(header).encode("ascii") + b"\n" + vertices.tobytes())


def static_points(
    scene: Reconstruction, *, max_points: int, min_confidence: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Static, confident points (M, 3) float32 and colours (M, 3) uint8, at most `max_points`."""
    width, height = scene.size
    # Looking at four times the points that are kept leaves enough after the filters, and a long
    # video at full size would not fit into memory.
    stride = max(int(np.sqrt(len(scene) * width * height / (4 * max(max_points, 1)))), 1)
    points, colours = scene.points(min_confidence=min_confidence, moving=False, stride=stride)
    if len(points) <= max_points:
        return points, colours
    kept = np.sort(rng.choice(len(points), size=max_points, replace=False))
    return points[kept], colours[kept]
