"""Points and cameras as binary glTF, which every 3D viewer opens; its axes are y-up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import trimesh

from align3r.config import ExportOptions
from align3r.io.ply import static_points
from align3r.reconstruction import Reconstruction

YUP_FROM_WORLD = np.diag([1.0, -1.0, -1.0, 1.0])
"""glTF (x right, y up, z backward) from our world (x right, y down, z forward)."""

_FRUSTUM_EDGES = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]])


def write_glb(
    scene: Reconstruction,
    path: Path,
    *,
    max_points: int = 500_000,
    min_confidence: float = 1.5,
    seed: int = 0,
) -> None:
    """Write the static, confident points and one frustum a frame, first red and last blue.

    Raises:
        OSError: The file cannot be written.
    """
    rng = np.random.default_rng(seed)
    points, colours = static_points(
        scene, max_points=max_points, min_confidence=min_confidence, rng=rng
    )
    rotation = YUP_FROM_WORLD[:3, :3]
    contents = trimesh.Scene()
    if len(points):
        alpha = np.full((len(colours), 1), 255, np.uint8)
        cloud = trimesh.PointCloud(points @ rotation.T, colors=np.hstack([colours, alpha]))
        contents.add_geometry(cloud, geom_name="points", node_name="points")
    size = _frustum_depth(scene, points)
    for i in range(len(scene)):
        contents.add_geometry(
            _frustum(scene, i, depth=size), geom_name=f"camera_{i}", node_name=f"camera_{i}"
        )
    path.write_bytes(contents.export(file_type="glb"))


def export_glb(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    """`write_glb` as a row of the table of exports."""
    write_glb(
        scene,
        path,
        max_points=options.max_points,
        min_confidence=options.min_confidence,
        seed=options.seed,
    )


def _frustum(scene: Reconstruction, i: int, *, depth: float) -> trimesh.path.Path3D:
    """Camera i as eight lines in y-up axes: its centre and its image corners at a depth."""
    width, height = scene.size
    # Image borders are half a pixel outside the outermost pixel centres.
    u, v = np.array([0, width, width, 0]) - 0.5, np.array([0, 0, height, height]) - 0.5
    rays = np.stack([u, v, np.ones(4)], axis=1) @ np.linalg.inv(scene.intrinsics[i]).T
    centre_and_corners = np.vstack([np.zeros(3), rays * depth])
    yup_from_cam = YUP_FROM_WORLD @ scene.world_from_cam[i]
    vertices = centre_and_corners @ yup_from_cam[:3, :3].T + yup_from_cam[:3, 3]
    age = i / max(len(scene) - 1, 1)
    colour = np.array([[round(255 * (1 - age)), 64, round(255 * age), 255]], np.uint8)
    lines = [trimesh.path.entities.Line(edge) for edge in _FRUSTUM_EDGES]
    return trimesh.path.Path3D(
        entities=lines, vertices=vertices, colors=np.repeat(colour, len(lines), axis=0)
    )


def _frustum_depth(scene: Reconstruction, points: np.ndarray) -> float:
    """A size of frusta that can be seen and does not hide the scene."""
    centres = scene.world_from_cam[:, :3, 3]
    if not len(points):
        return float(np.ptp(centres, axis=0).max()) * 0.1 or 0.1
    distance = np.median(np.linalg.norm(points - centres.mean(axis=0), axis=1))
    return float(distance) * 0.05 or 0.1
