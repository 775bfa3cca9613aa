"""ViPE's folder: `rgb`, `pose`, `intrinsics`, `depth` and `mask`, one file each for a video.

OpenCV axes; the centre of the top-left pixel is (0, 0). `inds` are frames of the mp4 that is
written, so they count from 0 without gaps.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import numpy as np
import OpenEXR

from align3r.export_options import ExportOptions
from align3r.io.export_frames import export_frames
from align3r.io.png import encode_png
from align3r.io.video_writer import open_video
from align3r.io.zips import add_file, open_zip, write_npz
from align3r.reconstruction import Reconstruction

_CRF = 12
"""Losses of the mp4 that are smaller than those of the video it is from."""
_HALF_MAX = float(np.finfo(np.float16).max)
_MOVING = 1


def write_vipe(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    """Fill a folder as ViPE does, all files named after the source.

    Depth is half precision, nan = unknown. The masks know one instance, what moves: 1.

    Raises:
        UsageError: Full-size images are asked for and not to be had.
        InputError: The source is another one than that of the scene, or the mp4 not written.
        OSError: A file cannot be written.
    """
    frames = export_frames(scene, options)
    name = _name_of(scene)
    for folder in ("rgb", "pose", "intrinsics", "depth", "mask"):
        (path / folder).mkdir()
    inds = np.arange(len(scene))
    poses = scene.world_from_cam.astype(np.float32)
    write_npz(path / "pose" / f"{name}.npz", {"data": poses, "inds": inds})
    k = frames.intrinsics
    values = np.stack([k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2]], axis=1)
    write_npz(
        path / "intrinsics" / f"{name}.npz", {"data": values.astype(np.float32), "inds": inds}
    )
    cameras = "".join(f"{i}: PINHOLE\n" for i in inds)
    (path / "intrinsics" / f"{name}_camera.txt").write_text(cameras, encoding="ascii")
    (path / "mask" / f"{name}.txt").write_text(f"{_MOVING}: moving\n", encoding="ascii")
    with open_video(
        path / "rgb" / f"{name}.mp4", size=frames.size, fps=_fps(scene), crf=_CRF
    ) as add:
        for rgb in frames.images():
            add(rgb)
    with open_zip(path / "depth" / f"{name}.zip") as archive:
        for i in range(len(frames)):
            add_file(archive, f"{i:05d}.exr", _half_exr(frames.depth(i)))
    with open_zip(path / "mask" / f"{name}.zip") as archive:
        for i in range(len(frames)):
            instances = np.where(frames.moving(i), _MOVING, 0).astype(np.uint8)
            add_file(archive, f"{i:05d}.png", encode_png(instances))


def _name_of(scene: Reconstruction) -> str:
    """The name of the source without what some systems do not allow in the name of a file."""
    stem = Path(str(scene.info.get("source", ""))).stem
    return re.sub(r"[^\w.-]+", "_", stem).strip("._") or "video"


def _fps(scene: Reconstruction) -> float:
    span = float(scene.times[-1] - scene.times[0])
    return (len(scene) - 1) / span if span > 0 else 30.0


def _half_exr(depth: np.ndarray) -> bytes:
    """An EXR file with the channel Z in half precision."""
    channels = {"Z": np.minimum(depth, _HALF_MAX).astype(np.float16)}
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    # The library writes to a path only.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "z.exr"
        OpenEXR.File(header, channels).write(str(file))
        return file.read_bytes()
