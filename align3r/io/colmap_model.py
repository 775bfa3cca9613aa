"""COLMAP models that are given: cameras by number, and images with their poses, by pycolmap."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from align3r.errors import InputError
from align3r.io.colmap_tables import check_tables
from align3r.io.files import check_regular
from align3r.io.images import cannot_read
from align3r.io.lenses import check_lens
from align3r.types import LensCamera

_PLACES = ("", "sparse/0", "sparse", "0")
_TABLES = ("cameras", "images", "points3D", "rigs", "frames")
_EMPTY = {".txt": b"", ".bin": bytes(8)}
"""A table of nothing: no lines, or a count of zero."""
_MOST_BYTES = 4 << 30
_HINT = "give the folder with cameras.bin and images.bin, or the same as txt"


@dataclass(frozen=True)
class ColmapModel:
    """What a COLMAP model says about cameras."""

    origin: str
    """Its folder or file, for people."""
    cameras: dict[int, LensCamera]
    camera_of: dict[str, int]
    """By the name of the image."""
    world_from_cam: dict[str, np.ndarray]
    """(4, 4) float64 by the name of the image, of those that have a pose."""


def find_model(path: Path) -> Path:
    """The folder with cameras.bin or cameras.txt: this one, or its sparse/0, sparse or 0.

    Raises:
        InputError: There is none.
    """
    try:
        if not path.is_dir():
            reason = "is no folder" if path.exists() else "does not exist"
            raise InputError(f"{path} {reason}", hint=_HINT)
        for place in _PLACES:
            if any((path / place / f"cameras{end}").is_file() for end in _EMPTY):
                return path / place
    except OSError as error:
        raise cannot_read(path, error) from error
    raise InputError(f"{path} holds no COLMAP model: cameras.bin is missing", hint=_HINT)


def read_colmap(path: Path) -> ColmapModel:
    """Read a model in its folder, without its points; or its cameras alone from one file.

    Args:
        path: A folder (see `find_model`), or a cameras.txt or cameras.bin.

    Raises:
        InputError: It cannot be read, or is no model.
    """
    alone = not path.is_dir() and path.stem == "cameras" and path.suffix in _EMPTY
    folder = path.parent if alone else find_model(path)
    ending = path.suffix if alone else _ending(folder)
    wanted = ("cameras",) if alone else ("cameras", "images", "rigs", "frames")
    with tempfile.TemporaryDirectory(prefix="align3r.") as place:
        for table in _TABLES:
            source, copy = folder / f"{table}{ending}", Path(place) / f"{table}{ending}"
            if table in wanted and (source.exists() or table in ("cameras", "images")):
                _copy(source, copy)
            elif table in ("images", "points3D"):
                # Points are of no use here, and may be millions; pycolmap wants the file.
                copy.write_bytes(_EMPTY[ending])
        return _read(place, path)


def _ending(folder: Path) -> str:
    return ".bin" if (folder / "cameras.bin").is_file() else ".txt"


def _copy(source: Path, copy: Path) -> None:
    check_regular(source)
    try:
        size = source.stat().st_size
        if size > _MOST_BYTES:
            raise InputError(
                f"{source} has {size / 1e9:.1f} GB", hint="remove the 2-D points of its images"
            )
        shutil.copyfile(source, copy)
    except OSError as error:
        raise cannot_read(source, error) from error


def _read(place: str, path: Path) -> ColmapModel:
    import pycolmap

    pycolmap.logging.minloglevel = 4  # Its complaints come to us as exceptions.
    try:
        check_tables(Path(place))
        model = pycolmap.Reconstruction(place)
        cameras = {
            number: LensCamera(
                camera.model_name,
                (int(camera.width), int(camera.height)),
                tuple(float(p) for p in camera.params),
            )
            for number, camera in model.cameras.items()
        }
        camera_of = {image.name: image.camera_id for image in model.images.values()}
        poses = {}
        for image in model.images.values():
            if image.has_pose:
                pose = np.eye(4)
                pose[:3] = image.cam_from_world().inverse().matrix()
                poses[image.name] = pose
    except (Exception, MemoryError) as error:  # whatever it meets in a damaged file
        why = str(error).strip().splitlines()
        raise InputError(
            f"{path} is no COLMAP model that can be read: {why[0] if why else 'it is damaged'}",
            hint=_HINT,
        ) from error
    if not cameras:
        raise InputError(f"{path} holds no cameras", hint=_HINT)
    for name, pose in poses.items():
        if not np.isfinite(pose).all():
            raise InputError(f"the pose of {name} in {path} is not finite", hint=_HINT)
    for camera in cameras.values():
        check_lens(camera, origin=str(path))
    return ColmapModel(str(path), cameras, camera_of, poses)
