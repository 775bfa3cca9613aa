"""COLMAP models: images, masks and `sparse/0`, by pycolmap.

Axes are COLMAP's, which are ours (x right, y down, z forward); poses become cam_from_world, and the
centre of the top-left pixel (0.5, 0.5). The frames are pinhole images, as the first programs that
read such models for radiance fields need them.
"""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pycolmap

from align3r.errors import UsageError
from align3r.export_options import ColmapOptions, ExportOptions
from align3r.geometry.followed import View
from align3r.geometry.tracks import find_tracks
from align3r.io.clouds import static_cloud
from align3r.io.colmap_points import CloudSightings, ModelPoints, with_tracks
from align3r.io.export_frames import ExportFrames, export_frames
from align3r.io.png import write_image, write_mask_png
from align3r.reconstruction import Reconstruction

log = logging.getLogger(__name__)


def write_colmap(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    """Fill a folder with `images`, `masks` where something moves, and `sparse/0`.

    Points are tracks, measured in two or more images, and a thinned cloud of the static scene, each
    point of which has one observation, in the image that shows it best.

    Raises:
        UsageError: Options make no sense, or full-size images are asked for and not to be had.
        InputError: The source is another one than that of the scene.
        OSError: A file cannot be written.
    """
    _check(options.colmap)
    frames = export_frames(scene, options)
    cloud = CloudSightings(
        static_cloud(scene, max_points=options.colmap.points, min_confidence=options.min_confidence)
    )
    names = [f"{i:06d}.{options.image_format}" for i in range(len(scene))]
    views = _views(frames, path, names, cloud=cloud, min_confidence=options.min_confidence)
    tracks = find_tracks(views, per_view=options.colmap.tracks)
    points = with_tracks(tracks, cloud.result())
    if options.colmap.tracks and len(scene) > 1 and not len(tracks.points):
        log.warning("no point could be followed from frame to frame, so there are no tracks")
    model = _model(frames, points, names)
    folder = path / "sparse" / "0"
    folder.mkdir(parents=True)
    _require_room(folder, points)
    if options.colmap.text:
        model.write_text(folder)
    else:
        model.write_binary(folder)


def _check(options: ColmapOptions) -> None:
    for name, value in (("points", options.points), ("tracks", options.tracks)):
        if value < 0:
            raise UsageError(f"--colmap.{name} is {value}", hint="it is at least 0")


def _require_room(folder: Path, points: ModelPoints) -> None:
    """Ask for room first: pycolmap does not tell of a file whose end found none."""
    # Text takes the most: three coordinates of 17 digits a point, two an observation.
    need = 150 * len(points.points) + 80 * len(points.point)
    if shutil.disk_usage(folder).free < need:
        raise OSError(errno.ENOSPC, "No space left on device", str(folder))


def _views(
    frames: ExportFrames,
    path: Path,
    names: list[str],
    *,
    cloud: CloudSightings,
    min_confidence: float,
) -> Iterator[View]:
    """Every frame once: written, shown to the cloud, and handed on to the tracks."""
    (path / "images").mkdir()
    masked = frames.anything_moves()
    if masked:
        (path / "masks").mkdir()
    for i, rgb in enumerate(frames.images()):
        moving = frames.moving(i)
        write_image(rgb, path / "images" / names[i])
        if masked:  # black is what COLMAP ignores
            write_mask_png(~moving, path / "masks" / f"{names[i]}.png")
        view = View(
            rgb=rgb,
            depth=frames.depth(i),
            static=~moving,
            sure=frames.confidence(i) >= min_confidence,
            k=frames.intrinsics[i],
            world_from_cam=frames.scene.world_from_cam[i],
        )
        cloud.look(i, view)
        yield view


def _model(frames: ExportFrames, points: ModelPoints, names: list[str]) -> pycolmap.Reconstruction:
    model = pycolmap.Reconstruction()
    camera_of = _add_cameras(model, frames)
    order = np.argsort(points.frame, kind="stable")
    last = np.searchsorted(points.frame[order], np.arange(len(frames) + 1))
    # The position of each observation among those of its image, which tracks refer to.
    position = np.empty(len(order), np.int64)
    for i, name in enumerate(names):
        mine = order[last[i] : last[i + 1]]
        position[mine] = np.arange(len(mine))
        pixels = points.pixel[mine] + 0.5
        if not len(pixels):
            # Parsers of the text form break on an image without any; this one has no 3-D point.
            pixels = np.array([frames.size]) / 2
        image = pycolmap.Image(
            name=name, keypoints=pixels, camera_id=int(camera_of[i]), image_id=i + 1
        )
        cam_from_world = np.linalg.inv(frames.scene.world_from_cam[i])
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d(cam_from_world[:3]))
    _add_points(model, points, position)
    return model


def _add_cameras(model: pycolmap.Reconstruction, frames: ExportFrames) -> np.ndarray:
    """One camera, and one rig, for frames with the same intrinsics; the number of each frame's."""
    width, height = frames.size
    different, camera_of = np.unique(
        frames.intrinsics.reshape(-1, 9).round(6), axis=0, return_inverse=True
    )
    for number, (fx, _, cx, _, fy, cy, *_) in enumerate(different.tolist(), start=1):
        camera = pycolmap.Camera(
            camera_id=number,
            model="PINHOLE",
            width=width,
            height=height,
            params=[fx, fy, cx + 0.5, cy + 0.5],
        )
        # The focal length was solved for, or is known: nobody shall guess it again.
        camera.has_prior_focal_length = True
        model.add_camera_with_trivial_rig(camera)
    return np.asarray(camera_of).reshape(-1) + 1


def _add_points(model: pycolmap.Reconstruction, points: ModelPoints, position: np.ndarray) -> None:
    first = np.searchsorted(points.point, np.arange(len(points.points) + 1)).tolist()
    images, where = (points.frame + 1).tolist(), position.tolist()
    for k, (xyz, colour) in enumerate(zip(points.points, points.colours, strict=True)):
        seen = range(first[k], first[k + 1])
        track = pycolmap.Track([pycolmap.TrackElement(images[m], where[m]) for m in seen])
        number = model.add_point3D(xyz, track, colour)
        model.points3D[number].error = points.errors[k]
