"""The scene as binary glTF, which every 3D viewer opens: y up, cameras, and a film of what moves.

What moves is one node a frame, switched on and off by an animated scale of 1 or 0 with STEP
interpolation. The specification names this as the way to animate visibility (glTF 2.0,
"Transformations": a node whose scale is zero need not be drawn), so it plays wherever animations
play: three.js, Babylon, Blender. KHR_node_visibility would need KHR_animation_pointer, which
three.js skips. A reader that knows no animations shows the first frame.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from align3r import __version__
from align3r.export_options import ExportOptions
from align3r.geometry.cameras import image_corners
from align3r.geometry.triangulate import unproject
from align3r.io.axes import CV_FROM_GL
from align3r.io.clouds import moving_cloud_of, static_cloud, typical_distance
from align3r.io.gltf import LINES, POINTS, Gltf, glb_file
from align3r.reconstruction import Reconstruction

YUP_FROM_WORLD = np.diag([1.0, -1.0, -1.0, 1.0])
"""glTF (x right, y up, z backward) from our world (x right, y down, z forward)."""

_FRUSTUM_EDGES = np.array([[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1]])
_FIRST_RGB, _LAST_RGB, _NOW_RGB = (255, 64, 0), (0, 64, 255), (255, 220, 40)
_FRUSTUM_SHARE = 0.05
"""Depth of a frustum in typical distances: it can be seen and does not hide the scene."""
_LEAST_GAP = 1e-3
"""Seconds between two frames: key times must increase, and a source may give one time twice."""


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
        _animate(gltf, _Keys.of(scene.times), moving, camera=roots[-1], poses=_yup_poses(scene))
        gltf.add("scenes", name="align3r", nodes=roots)


@dataclass(frozen=True)
class _Keys:
    """When frames begin and end in the animation, in float32 seconds from the first frame."""

    begin: np.ndarray
    """(N,)."""
    end: np.ndarray
    """(N,): the next frame's begin; the last frame stays as long as the median one."""

    @staticmethod
    def of(times: np.ndarray) -> _Keys:
        begin, gaps = times - times[0], np.diff(times)
        if (gaps < _LEAST_GAP).any():
            gaps = np.maximum(gaps, _LEAST_GAP)
            begin = np.append(0.0, np.cumsum(gaps))
        last = begin[-1] + (float(np.median(gaps)) if len(times) > 1 else 1.0)
        ends = np.append(begin[1:], last)
        return _Keys(begin.astype(np.float32), ends.astype(np.float32))


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
        gltf.node(f"camera_{i:06d}", camera=lens, **_placed(pose))
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
        gltf.node("camera", mesh=now, camera=lenses[0], **_placed(poses[0])),
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


def _animate(
    gltf: Gltf, keys: _Keys, moving: dict[int, int], *, camera: int, poses: np.ndarray
) -> None:
    """One animation, as long as the video: moving nodes take turns, the camera goes its way."""
    n = len(poses)
    if n < 2:
        return
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []

    def channel(node: int, path: str, **sampler: Any) -> None:
        samplers.append(sampler)
        target = {"node": node, "path": path}
        channels.append({"sampler": len(samplers) - 1, "target": target})

    patterns = {
        on: gltf.accessor(np.repeat(np.array(on, np.float32)[:, None], 3, axis=1))
        for on in ((1, 0), (0, 1, 0), (0, 1, 1))
    }
    for i, node in moving.items():
        begin, end = keys.begin[i], keys.end[i]
        # The last frame stays on at the very end, where players may stop.
        on = (1, 0) if i == 0 else (0, 1, 1) if i == n - 1 else (0, 1, 0)
        times = np.array([begin, end] if i == 0 else [0, begin, end], np.float32)
        when = gltf.accessor(times, bounds=True)
        channel(node, "scale", input=when, output=patterns[on], interpolation="STEP")
    placed = [_placed(pose) for pose in (*poses, poses[-1])]
    when = gltf.accessor(np.append(keys.begin, keys.end[-1]), bounds=True)
    for path in ("translation", "rotation"):
        values = np.array([place[path] for place in placed])
        if path == "rotation":
            values = _continuous(values)
        there = gltf.accessor(values.astype(np.float32))
        channel(camera, path, input=when, output=there, interpolation="LINEAR")
    gltf.add("animations", name="video", samplers=samplers, channels=channels)


def _yup(points: np.ndarray) -> np.ndarray:
    return np.asarray(points * np.array([1, -1, -1], points.dtype))


def _yup_poses(scene: Reconstruction) -> np.ndarray:
    """(N, 4, 4) poses of glTF cameras in y-up axes."""
    return np.asarray(YUP_FROM_WORLD @ scene.world_from_cam @ CV_FROM_GL)


def _placed(pose: np.ndarray) -> dict[str, list[float]]:
    """A pose as the fields of a node; a node that is animated must not have a matrix."""
    quat_xyzw = Rotation.from_matrix(pose[:3, :3]).as_quat()
    return {"translation": pose[:3, 3].tolist(), "rotation": quat_xyzw.tolist()}


def _continuous(quat_xyzw: np.ndarray) -> np.ndarray:
    """The same rotations without sign jumps, which interpolation would follow."""
    turns = np.sum(quat_xyzw[1:] * quat_xyzw[:-1], axis=1) < 0
    signs = np.where(np.append(False, np.cumsum(turns) % 2 == 1), -1.0, 1.0)
    return np.asarray(quat_xyzw * signs[:, None])


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
