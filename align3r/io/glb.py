"""The scene as binary glTF, which every 3D viewer opens: points, cameras and a film, y up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from align3r import __version__
from align3r.export_options import ExportOptions
from align3r.geometry.cameras import image_corners
from align3r.geometry.triangulate import unproject
from align3r.io.axes import CV_FROM_GL
from align3r.io.clouds import moving_cloud_of, static_cloud, typical_distance
from align3r.io.glb_film import add_film
from align3r.io.gltf import LINES, POINTS, Gltf, glb_file, placed
from align3r.reconstruction import Reconstruction

YUP_FROM_WORLD = np.diag([1.0, -1.0, -1.0, 1.0])
"""glTF (x right, y up, z backward) from our world (x right, y down, z forward)."""

_FRUSTUM_EDGES = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]])
_FIRST_RGB, _LAST_RGB, _NOW_RGB = (255, 64, 0), (0, 64, 255), (255, 220, 40)
_FRUSTUM_SHARE = 0.05
"""Depth of a frustum in typical distances: it can be seen and does not hide the scene."""


def write_glb(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    """Write static points, moving points of every frame, cameras and frusta, red to blue.

    Nodes: `static`; `moving_000000` ..., of which one is on at a time; `camera_000000` ..., a
    camera a frame; `frusta`, all of them as lines; `camera`, which follows the path.

    Args:
        scene: What to write; its frames are read one after the other.
        path: The file.
        options: `max_points` are the most static points, and the most moving points of all frames
            together; `max_frame_points` the most moving points of one. Moving points need no
            confidence.

    Raises:
        OSError: The file cannot be written.
        UsageError: It would be larger than the format allows.
    """
    most = options.max_points
    per_frame = min(options.max_frame_points, max(most // len(scene), 1))
    asset = {"generator": f"align3r {__version__}", "extras": _extras(scene)}
    with glb_file(path, asset=asset, extensions=["KHR_materials_unlit"]) as gltf:
        material = gltf.add(
            "materials",
            name="colours of the video",
            pbrMetallicRoughness={"metallicFactor": 0.0},
            extensions={"KHR_materials_unlit": {}},
        )
        cloud = static_cloud(scene, max_points=most, min_confidence=options.min_confidence)
        size = _FRUSTUM_SHARE * typical_distance(scene, cloud.points)
        roots = list(_static_node(gltf, cloud.points, cloud.colours, material))
        del cloud
        moving = _moving_nodes(gltf, scene, material, max_points=per_frame)
        if moving:
            roots.append(gltf.node("moving", children=list(moving.values())))
        roots += _camera_nodes(gltf, scene, material, size=size)
        add_film(gltf, scene.times, moving, camera=roots[-1], poses=_yup_poses(scene))
        gltf.add("scenes", name="align3r", nodes=roots)


def _extras(scene: Reconstruction) -> dict[str, Any]:
    return {
        "axes": "x right, y up, z backward",
        "scale": scene.scale,
        "frames": len(scene),
        "size": list(scene.size),
        "first_time_s": float(scene.times[0]),
    }


def _static_node(
    gltf: Gltf, points: np.ndarray, colours: np.ndarray, material: int
) -> Iterator[int]:
    if len(points):
        mesh = gltf.mesh("static", _yup(points), colours, mode=POINTS, material=material)
        yield gltf.node("static", mesh=mesh)


def _moving_nodes(
    gltf: Gltf, scene: Reconstruction, material: int, *, max_points: int
) -> dict[int, int]:
    """Node of every frame in which something moves; at rest the first frame is on."""
    nodes = {}
    for i in range(len(scene)):
        cloud = moving_cloud_of(scene, i, max_points=max_points)
        if len(cloud):
            name = f"moving_{i:06d}"
            mesh = gltf.mesh(
                name, _yup(cloud.points), cloud.colours, mode=POINTS, material=material
            )
            nodes[i] = gltf.node(name, mesh=mesh, scale=[float(i == 0)] * 3)
    return nodes


def _camera_nodes(
    gltf: Gltf, scene: Reconstruction, material: int, *, size: float
) -> tuple[int, int, int]:
    """The cameras of all frames, their frusta as lines, and last the camera that moves.

    glTF cameras have their principal point in the middle; the drawn frusta are exact.
    """
    poses = _yup_poses(scene)
    lenses = _lens_numbers(gltf, scene, nearest=0.2 * size)
    cameras = [
        gltf.node(f"camera_{i:06d}", camera=lens, **placed(pose))
        for i, (lens, pose) in enumerate(zip(lenses, poses, strict=True))
    ]
    corners = np.stack([_frustum(scene, i, depth=size) for i in range(len(scene))])
    in_yup = np.einsum("nij,nkj->nki", poses[:, :3, :3], corners) + poses[:, None, :3, 3]
    age = np.linspace(0, 1, len(scene))[:, None]
    shades = np.round((1 - age) * _FIRST_RGB + age * _LAST_RGB)
    frusta = _frusta_mesh(gltf, "frusta", in_yup, shades, material=material)
    # A little larger than the one of the same frame, so that it can be told apart.
    yellow = np.array([_NOW_RGB])
    now = _frusta_mesh(gltf, "camera", 1.15 * corners[:1], yellow, material=material)
    return (
        gltf.node("cameras", children=cameras),
        gltf.node("frusta", mesh=frusta),
        gltf.node("camera", mesh=now, camera=lenses[0], **placed(poses[0])),
    )


def _lens_numbers(gltf: Gltf, scene: Reconstruction, *, nearest: float) -> list[int]:
    """The lens of every frame; what is the same is there once."""
    known: dict[tuple[float, float], int] = {}
    numbers = []
    for k in scene.intrinsics:
        lens = yfov, aspect = _lens(k, scene.size)
        if lens not in known:
            seen = {"yfov": yfov, "aspectRatio": aspect, "znear": nearest}
            known[lens] = gltf.add("cameras", type="perspective", perspective=seen)
        numbers.append(known[lens])
    return numbers


def _frusta_mesh(
    gltf: Gltf, name: str, corners: np.ndarray, colours: np.ndarray, *, material: int
) -> int:
    """Lines of frusta from their (N, 5, 3) centres and corners, in (N, 3) colours."""
    ends = corners[:, _FRUSTUM_EDGES].reshape(-1, 3)
    shades = np.repeat(colours.astype(np.uint8), _FRUSTUM_EDGES.size, axis=0)
    return gltf.mesh(name, ends, shades, mode=LINES, material=material)


def _yup(points: np.ndarray) -> np.ndarray:
    return np.asarray(points * np.array([1, -1, -1], points.dtype))


def _yup_poses(scene: Reconstruction) -> np.ndarray:
    """(N, 4, 4) poses of glTF cameras in y-up axes."""
    return np.asarray(YUP_FROM_WORLD @ scene.world_from_cam @ CV_FROM_GL)


def _lens(k: np.ndarray, size: tuple[int, int]) -> tuple[float, float]:
    """Vertical field of view in radians, and aspect ratio in lengths rather than pixels."""
    width, height = size
    yfov = 2 * np.arctan(height / (2 * k[1, 1]))
    return round(float(yfov), 9), round(float(width * k[1, 1] / (height * k[0, 0])), 9)


def _frustum(scene: Reconstruction, i: int, *, depth: float) -> np.ndarray:
    """(5, 3) centre and image corners of camera i at a depth, in glTF's camera axes."""
    far = np.full(4, depth)
    corners = unproject(image_corners(scene.size), far, scene.intrinsics[i], np.eye(4))
    return np.vstack([np.zeros(3), corners]) * [1, -1, -1]
