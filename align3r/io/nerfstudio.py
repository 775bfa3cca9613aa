"""nerfstudio: `transforms.json` with images, masks, depths and points.

The world stays in OpenCV axes; cameras are OpenGL's (x right, y up, z backward), so every pose is
multiplied on the right by diag(1, -1, -1, 1). The centre of the top-left pixel is (0.5, 0.5).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from align3r.errors import UsageError
from align3r.export_options import ExportOptions
from align3r.io.axes import CV_FROM_GL
from align3r.io.clouds import static_cloud
from align3r.io.depth_images import fits_16_bits
from align3r.io.export_frames import ExportFrames, export_frames
from align3r.io.jsonable import readable_json
from align3r.io.ply import write_points_ply
from align3r.io.png import write_depth_png, write_image, write_mask_png
from align3r.reconstruction import Reconstruction


def write_nerfstudio(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    """Fill a folder with `transforms.json`, `images`, `depths`, `points.ply`, and `masks`.

    Depth is 16-bit PNG of z-depth times `depth_levels`, 0 = unknown; where that has no room, or
    steps that are too coarse, it is `.npy` float32 of the same number, for all frames. Masks are
    written if anything moves, black = ignore.

    Raises:
        UsageError: Options make no sense, or full-size images are asked for and not to be had.
        InputError: The source is another one than that of the scene.
        OSError: A file cannot be written.
    """
    if options.nerfstudio.points < 0:
        raise UsageError(
            f"--nerfstudio.points is {options.nerfstudio.points}", hint="it is at least 0"
        )
    frames = export_frames(scene, options)
    levels = options.depth_levels
    as_png = fits_16_bits((frames.depth(i) for i in range(len(frames))), levels)
    cloud = static_cloud(
        scene, max_points=options.nerfstudio.points, min_confidence=options.min_confidence
    )
    write_points_ply(cloud.points, cloud.colours, path / "points.ply")
    masked = frames.anything_moves()
    for folder in ("images", "depths", *(["masks"] if masked else [])):
        (path / folder).mkdir()
    entries = []
    for i, rgb in enumerate(frames.images()):
        entry = {
            "file_path": f"images/{i:06d}.{options.image_format}",
            "depth_file_path": f"depths/{i:06d}.{'png' if as_png else 'npy'}",
            "transform_matrix": (scene.world_from_cam[i] @ CV_FROM_GL).tolist(),
            "time": float(scene.times[i]),
        }
        write_image(rgb, path / entry["file_path"])
        _write_depth(frames.depth(i), path / entry["depth_file_path"], levels)
        if masked:
            entry["mask_path"] = f"masks/{i:06d}.png"
            write_mask_png(~frames.moving(i), path / entry["mask_path"])
        entries.append(entry)
    text = readable_json(_transforms(frames, entries, levels))
    (path / "transforms.json").write_text(text, encoding="utf-8")


def _write_depth(depth: np.ndarray, path: Path, levels: float) -> None:
    if path.suffix == ".png":
        write_depth_png(depth, path, per_unit=levels)
    else:
        np.save(path, np.where(np.isfinite(depth), depth * levels, 0).astype(np.float32))


def _transforms(
    frames: ExportFrames, entries: list[dict[str, Any]], levels: float
) -> dict[str, Any]:
    """The whole file; intrinsics at the top if all frames share them, else in every frame."""
    width, height = frames.size
    intrinsics = [
        {"fl_x": k[0, 0], "fl_y": k[1, 1], "cx": k[0, 2] + 0.5, "cy": k[1, 2] + 0.5}
        for k in frames.intrinsics
    ]
    shared = bool(np.ptp(frames.intrinsics, axis=0).max() < 1e-6)
    if not shared:
        entries = [{**own, **entry} for own, entry in zip(intrinsics, entries, strict=True)]
    return {
        "camera_model": "OPENCV",
        "w": width,
        "h": height,
        **(intrinsics[0] if shared else {}),
        # Not left out: beside a COLMAP model the loader would take its absence for another world.
        "applied_transform": np.eye(4)[:3].tolist(),
        "ply_file_path": "points.ply",
        # Nobody's key but ours: what a loader needs to know of depth, and of the unit of length.
        "align3r": {"depth_unit_scale_factor": 1 / levels, "scale": frames.scene.scale},
        "frames": entries,
    }
