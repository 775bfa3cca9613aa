"""A folder that Blender builds the scene from: a script, its numbers, clouds and frames.

    blender/
      build_scene.py        what `blender --python` runs: `scripts/build_blender_scene.py`, as it is
      scene.json            cameras and video in Blender's terms
      static.ply            static points, OpenCV axes
      moving/000001.ply     moving points of a frame, OpenCV axes; numbered from 1, as Blender does
      images/000001.jpg     the frames

Blender reads no format that has an animated pinhole camera, its images and points without loss, so
it is a script that builds them. All axes are turned here; the script only does what it is told.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from align3r.export_options import ExportOptions
from align3r.io.axes import CV_FROM_GL
from align3r.io.clouds import moving_cloud_of, static_cloud, typical_distance
from align3r.io.export_frames import ExportFrames, export_frames
from align3r.io.jsonable import readable_json
from align3r.io.ply import write_points_ply
from align3r.io.png import write_image
from align3r.reconstruction import Reconstruction

BLENDER_FROM_WORLD = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1.0]])
"""Blender (x right, y forward, z up) from our world (x right, y down, z forward)."""

_SCRIPT = Path(__file__).parent / "scripts" / "build_blender_scene.py"


def write_blender(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    """Fill a folder with a script for Blender and all it needs.

    One frame of Blender is one frame of the scene, at the mean rate of the video.

    Raises:
        UsageError: Full-size images are asked for, and it is not known where the source is.
        InputError: The source is another one than that of the scene.
        OSError: A file cannot be written.
    """
    frames = export_frames(scene, options)
    (path / "images").mkdir()
    (path / "moving").mkdir()
    name = f"images/{{:06d}}.{options.image_format}"
    for number, image in enumerate(frames.images(), start=1):
        write_image(image, path / name.format(number))
    cloud = static_cloud(
        scene, max_points=options.max_points, min_confidence=options.min_confidence
    )
    write_points_ply(cloud.points, cloud.colours, path / "static.ply")
    distance = typical_distance(scene, cloud.points)
    del cloud
    moving = {}
    for i in range(len(scene)):
        cloud = moving_cloud_of(scene, i, max_points=options.max_frame_points)
        if len(cloud):
            moving[f"{i + 1:06d}"] = f"moving/{i + 1:06d}.ply"
            write_points_ply(cloud.points, cloud.colours, path / moving[f"{i + 1:06d}"])
    about = {
        "name": "align3r",
        "scale": scene.scale,
        "video": _video(frames, first_image=name.format(1), distance=distance),
        "from_world": BLENDER_FROM_WORLD.tolist(),
        # Neighbouring pixels touch at the typical distance.
        "point_radius": 0.7 * distance / float(np.median(scene.intrinsics[:, 0, 0])),
        "moving": moving,
        "cameras": _cameras(frames),
    }
    (path / "scene.json").write_text(readable_json(about), encoding="utf-8")
    shutil.copyfile(_SCRIPT, path / "build_scene.py")


def _video(frames: ExportFrames, *, first_image: str, distance: float) -> dict[str, Any]:
    times = frames.scene.times
    span = float(times[-1] - times[0])
    # Blender's pixels may be wider or higher than one, never smaller.
    aspect = float(np.median(frames.intrinsics[:, 1, 1] / frames.intrinsics[:, 0, 0]))
    return {
        "frames": len(frames),
        "fps": (len(times) - 1) / span if span > 0 else 24.0,
        "size": list(frames.size),
        "pixel_aspect": [max(aspect, 1.0), max(1 / aspect, 1.0)],
        "first_image": first_image,
        "clip": [1e-3 * distance, 1e3 * distance],
    }


def _cameras(frames: ExportFrames) -> list[dict[str, Any]]:
    """Poses and lenses: focal lengths and shifts in widths of the sensor, as Blender has them."""
    poses = BLENDER_FROM_WORLD @ frames.scene.world_from_cam @ CV_FROM_GL
    quats_xyzw = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    width, height = frames.size
    cameras = []
    for i, k in enumerate(frames.intrinsics):
        if i and quats_xyzw[i] @ quats_xyzw[i - 1] < 0:
            quats_xyzw[i] *= -1  # the same rotation, reached without a turn round
        # Blender's image reaches from 0 to the width: our pixel centres are at a half.
        right = width / 2 - (k[0, 2] + 0.5)
        up = (k[1, 2] + 0.5 - height / 2) * k[0, 0] / k[1, 1]
        x, y, z, w = quats_xyzw[i].tolist()
        cameras.append(
            {
                "time": float(frames.scene.times[i]),
                "location": poses[i, :3, 3].tolist(),
                "quaternion_wxyz": [w, x, y, z],
                "lens": float(k[0, 0] / width),
                "shift": [float(right / width), float(up / width)],
            }
        )
    return cameras
