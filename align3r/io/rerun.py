"""The scene as a rerun recording (`.rrd`): everything over time, to scrub through in their viewer.

    world                    RDF: x right, y down, z forward, our own axes
    world/static             static points, at all times
    world/moving             moving points of a frame
    world/path               camera path, blue at the start, orange at the end
    world/camera             pose of a frame (parent from child: world_from_cam)
    world/camera/image       pinhole of a frame
    world/camera/image/rgb, depth, moving

Time lines: `time` in seconds of the container, `frame` by position in the result, `source_frame` by
number in the source. Recordings belong to the version of rerun that wrote them, more or less.
"""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from align3r.errors import MissingExtraError
from align3r.export_options import ExportOptions
from align3r.geometry.cameras import resize_intrinsics
from align3r.io.clouds import moving_cloud_of, static_cloud, typical_distance
from align3r.io.thinning import Cloud
from align3r.reconstruction import Reconstruction

if TYPE_CHECKING:
    import rerun

_IMAGE = "world/camera/image"
_FIRST_RGB, _LAST_RGB = np.array([38, 110, 235]), np.array([250, 130, 20])
_MOVING_RGBA = (255, 60, 150, 110)
_POINT_SIZE = -1.5
"""Negative radii are in pixels of the screen."""
_PLANE_SHARE = 0.1
"""How far before its camera a picture stands, in typical distances."""
_HALF_RANGE = (1e-3, 6e4)
"""Depths that float16 holds to a part in a thousand."""


def write_rerun(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    """Write a recording, with a layout of its own for the viewer.

    Images, depth and masks are at the working size, with the pinhole that belongs to it. Unknown
    depth is 0. Frames go to the file one after the other.

    Args:
        scene: What to write.
        path: The file.
        options: `max_points` are the most static points, `max_frame_points` the most moving points
            of a frame, which need no confidence.

    Raises:
        MissingExtraError: rerun is not installed.
        OSError: The file cannot be written.
    """
    rr = _rerun()
    path.touch()  # rerun only logs that a file cannot be opened.
    recording = rr.RecordingStream("align3r")
    try:
        recording.save(path, default_blueprint=_layout())
        cloud = static_cloud(
            scene, max_points=options.max_points, min_confidence=options.min_confidence
        )
        _log_static(rr, recording, scene, cloud)
        plane = _PLANE_SHARE * typical_distance(scene, cloud.points)
        del cloud
        most = options.max_frame_points
        for i in range(len(scene)):
            _log_frame(rr, recording, scene, i, max_points=most, plane=plane)
            _check_room(path, scene)
        recording.flush()
    finally:
        recording.disconnect()


def _rerun() -> ModuleType:
    try:
        import rerun
    except ImportError as error:
        raise MissingExtraError(
            "rerun is not installed", hint="pip install 'align3r[rerun]'"
        ) from error
    return rerun


def _log_static(
    rr: ModuleType, recording: rerun.RecordingStream, scene: Reconstruction, cloud: Cloud
) -> None:
    recording.log("world", rr.ViewCoordinates.RDF, static=True)
    recording.log("world/static", _points(rr, cloud), static=True)
    marks = [rr.AnnotationInfo(id=1, label="moving", color=_MOVING_RGBA)]
    recording.log(_IMAGE, rr.AnnotationContext(marks), static=True)
    centres = scene.world_from_cam[:, :3, 3]
    if len(scene) > 1:
        steps = np.stack([centres[:-1], centres[1:]], axis=1)
        share = np.linspace(0, 1, len(steps))[:, None]
        shades = np.round((1 - share) * _FIRST_RGB + share * _LAST_RGB).astype(np.uint8)
        recording.log(
            "world/path", rr.LineStrips3D(steps, colors=shades, radii=_POINT_SIZE), static=True
        )


def _log_frame(
    rr: ModuleType,
    recording: rerun.RecordingStream,
    scene: Reconstruction,
    i: int,
    *,
    max_points: int,
    plane: float,
) -> None:
    recording.set_time("time", duration=float(scene.times[i]))
    recording.set_time("frame", sequence=i)
    recording.set_time("source_frame", sequence=int(scene.frame_index[i]))
    pose = scene.world_from_cam[i]
    recording.log("world/camera", rr.Transform3D(translation=pose[:3, 3], mat3x3=pose[:3, :3]))
    image = scene.image(i)
    size = image.shape[1], image.shape[0]
    k = resize_intrinsics(scene.intrinsics[i], scene.size, size)
    # In rerun an image reaches from 0 to its width, so the first pixel's centre is at a half.
    k[:2, 2] += 0.5
    recording.log(
        _IMAGE, rr.Pinhole(image_from_camera=k, resolution=size, image_plane_distance=plane)
    )
    recording.log(f"{_IMAGE}/rgb", rr.Image(image).compress(jpeg_quality=90))
    depth = _at_size(scene.depth(i), size)
    recording.log(f"{_IMAGE}/depth", rr.DepthImage(_compact(depth), meter=1.0))
    mask = _at_size(scene.moving(i), size).astype(np.uint8)
    recording.log(f"{_IMAGE}/moving", rr.SegmentationImage(mask))
    # A frame in which nothing moves takes away the points of the one before.
    cloud = moving_cloud_of(scene, i, max_points=max_points)
    recording.log("world/moving", _points(rr, cloud))


def _points(rr: ModuleType, cloud: Cloud) -> rerun.Points3D:
    points: rerun.Points3D = rr.Points3D(cloud.points, colors=cloud.colours, radii=_POINT_SIZE)
    return points


def _layout() -> rerun.blueprint.Blueprint:
    """The scene at the left, picture and depth at the right; depth is not drawn in space twice."""
    import rerun.blueprint as rrb

    in_space = ["+ /world/**", f"- /{_IMAGE}/depth", f"- /{_IMAGE}/moving"]
    return rrb.Blueprint(
        rrb.Horizontal(
            rrb.Spatial3DView(name="scene", origin="/world", contents=in_space),
            rrb.Vertical(
                rrb.Spatial2DView(
                    name="frame and what moves",
                    origin=f"/{_IMAGE}",
                    contents=[f"+ /{_IMAGE}/rgb", f"+ /{_IMAGE}/moving"],
                ),
                rrb.Spatial2DView(
                    name="depth", origin=f"/{_IMAGE}", contents=[f"+ /{_IMAGE}/depth"]
                ),
            ),
            column_shares=[2, 1],
        ),
        rrb.TimePanel(timeline="time", state="collapsed"),
        collapse_panels=False,
    )


def _at_size(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The pixels of an (H, W) map nearest to those of a (width, height) image; nothing mixes."""
    rows = ((np.arange(size[1]) + 0.5) * values.shape[0] / size[1]).astype(int)
    columns = ((np.arange(size[0]) + 0.5) * values.shape[1] / size[0]).astype(int)
    return np.asarray(values[np.ix_(rows, columns)])


def _compact(depth: np.ndarray) -> np.ndarray:
    """Depth with 0 for unknown, in half precision if that is precise."""
    known = np.isfinite(depth)
    low, high = (float(f(depth[known])) if known.any() else 1.0 for f in (np.min, np.max))
    half = low >= _HALF_RANGE[0] and high <= _HALF_RANGE[1]
    return np.where(known, depth, 0).astype(np.float16 if half else np.float32)


def _check_room(path: Path, scene: Reconstruction) -> None:
    """rerun does not say when a disk is full, so there must be room for a frame to come.

    Raises:
        OSError: There is none.
    """
    if shutil.disk_usage(path.parent).free < 8 * scene.size[0] * scene.size[1]:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))
