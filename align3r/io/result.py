"""The result folder: saved whole or not at all, loaded with numpy, OpenEXR and OpenCV alone.

    out/
      scene.json            format, version, n_frames, size, fps, scale, and the scene's `info`
      cameras.npz           world_from_cam (N, 4, 4) f8, K (N, 3, 3) f8 in source pixels,
                            time (N,) f8 in seconds, frame (N,) i8
      depth/000000.exr      z-depth in channel Z, confidence in channel confidence; source size
      moving/000000.png     255 = moving; source size
      images/000000.jpg     RGB at the working size, for the viewer and for coloured points
      points.ply            static, confident points in world coordinates
      ...                   what the `extras` write (scene.html, pictures)

Files are numbered by position in the result; `frame` tells the number in the source.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from align3r.errors import InputError, SolveError
from align3r.geometry.cameras import wrong_camera
from align3r.io.arrays import read_npz
from align3r.io.exr import write_exr
from align3r.io.files import check_inside, check_pixels, read_json
from align3r.io.jsonable import jsonable, readable_json
from align3r.io.maps import FolderMaps
from align3r.io.ply import write_ply
from align3r.io.png import write_jpg, write_mask_png
from align3r.io.result_info import wrong_section
from align3r.io.whole import check_output as check_output
from align3r.io.whole import whole_or_nothing as whole_or_nothing
from align3r.reconstruction import Reconstruction

FORMAT = "align3r"
FORMAT_VERSION = 1

Extra = Callable[[Reconstruction, Path], None]
"""Writes something more into the scratch folder of a result."""

_OWN_KEYS = ("format", "version", "n_frames", "size", "fps", "scale")
_ARRAYS = {"world_from_cam": (4, 4), "K": (3, 3), "time": (), "frame": ()}


def save_result(
    scene: Reconstruction,
    out: Path,
    *,
    overwrite: bool = False,
    max_points: int,
    min_confidence: float,
    extras: Sequence[Extra] = (),
) -> Path:
    """Write the result folder, whole or not at all.

    Args:
        scene: What to save.
        out: The folder; its parents are made.
        overwrite: Replace a result that is there; it is lost only when the new one is whole.
        max_points: Most points in points.ply.
        min_confidence: Least confidence of a point in points.ply.
        extras: Called in order with the scene and the scratch folder.

    Returns:
        `out`.

    Raises:
        UsageError: `out` exists and `overwrite` is off, or it is something else than a result.
        InputError: The place cannot be written, or there is no space left.
        SolveError: A camera is none, so that nobody could load it.
    """
    if what := wrong_camera(np.asarray(scene.world_from_cam), np.asarray(scene.intrinsics)):
        raise SolveError(
            f"{what}, so the result cannot be saved",
            hint="poses are rotations and translations, K has finite positive focal lengths",
        )
    with whole_or_nothing(out, overwrite=overwrite) as folder:
        _write_cameras(scene, folder / "cameras.npz")
        _write_maps(scene, folder)
        write_ply(
            scene, folder / "points.ply", max_points=max_points, min_confidence=min_confidence
        )
        for extra in extras:
            extra(scene, folder)
        (folder / "scene.json").write_text(readable_json(_scene_json(scene)), encoding="utf-8")
    return out


def load(path: str | Path) -> Reconstruction:
    """Read a result folder; maps are read when asked for.

    Raises:
        InputError: The folder is missing, is no result, is damaged, or is of a newer version.
    """
    folder = Path(path)
    if not folder.exists():
        raise InputError(f"no such folder: {folder}", hint="check the path")
    about = _read_scene_json(folder)
    cameras = _read_cameras(folder, n_frames=about["n_frames"])
    size = (int(about["size"][0]), int(about["size"][1]))
    _check_files(folder, n_frames=about["n_frames"])
    return Reconstruction(
        world_from_cam=cameras["world_from_cam"].astype(np.float64),
        intrinsics=cameras["K"].astype(np.float64),
        times=cameras["time"].astype(np.float64),
        frame_index=cameras["frame"].astype(np.int64),
        size=size,
        maps=FolderMaps(folder, size=size),
        scale=about["scale"],
        info={key: value for key, value in about.items() if key not in _OWN_KEYS},
    )


def _scene_json(scene: Reconstruction) -> dict[str, Any]:
    n = len(scene)
    span = float(scene.times[-1] - scene.times[0])
    own = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "n_frames": n,
        "size": list(scene.size),
        "fps": (n - 1) / span if span > 0 else None,
        "scale": scene.scale,
    }
    info = {key: value for key, value in scene.info.items() if key not in _OWN_KEYS}
    return {key: jsonable(value) for key, value in {**own, **info}.items()}


def _write_cameras(scene: Reconstruction, path: Path) -> None:
    np.savez(
        path,
        world_from_cam=np.asarray(scene.world_from_cam, np.float64),
        K=np.asarray(scene.intrinsics, np.float64),
        time=np.asarray(scene.times, np.float64),
        frame=np.asarray(scene.frame_index, np.int64),
    )


def _write_maps(scene: Reconstruction, folder: Path) -> None:
    for name in ("depth", "moving", "images"):
        (folder / name).mkdir()
    for i in range(len(scene)):
        write_exr(scene.depth(i), scene.confidence(i), folder / "depth" / f"{i:06d}.exr")
        write_mask_png(scene.moving(i), folder / "moving" / f"{i:06d}.png")
        picture = folder / "images" / f"{i:06d}.jpg"
        if isinstance(scene.maps, FolderMaps):  # Encoded anew, it would lose each time.
            picture.write_bytes(scene.maps.stored_image(i))
        else:
            write_jpg(scene.image(i), picture)


def _read_scene_json(folder: Path) -> dict[str, Any]:
    path = folder / "scene.json"
    check_inside(path, folder)
    if not path.is_file() and (folder / "shots.json").is_file():
        raise InputError(
            f"{folder} holds the results of several shots", hint=f"give one: {folder / 'shot_000'}"
        )
    if not path.is_file():
        raise InputError(
            f"{folder} is no result of align3r: scene.json is missing",
            hint="give the folder that `align3r reconstruct` wrote",
        )
    try:
        about = read_json(path)
    except ValueError as error:
        raise _damaged(f"{path} cannot be read as JSON") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(
            f"{path} was not written by align3r",
            hint="give the folder that `align3r reconstruct` wrote",
        )
    if about.get("version") != FORMAT_VERSION:
        raise InputError(
            f"{folder} has format version {_short(about.get('version'))}; this align3r reads "
            f"version {FORMAT_VERSION}",
            hint="install the align3r that wrote it",
        )
    _check_scene_json(about, path=path)
    return about


def _check_scene_json(about: dict[str, Any], *, path: Path) -> None:
    missing = [key for key in _OWN_KEYS if key not in about]
    if missing:
        raise _damaged(f"{path} lacks {', '.join(missing)}")
    size, n = about["size"], about["n_frames"]
    numbers = [*size, n] if isinstance(size, list) and len(size) == 2 else [None]
    # Not isinstance: True is an int.
    if not all(type(number) is int and number > 0 for number in numbers):
        raise _damaged(f"{path} has n_frames {_short(n)} and size {_short(size)}")
    check_pixels(path, (size[0], size[1]))
    if about["scale"] not in ("relative", "prior-metric", "known-camera"):
        raise _damaged(f"{path} has the unknown scale {_short(about['scale'])}")
    if name := wrong_section(about, n_frames=n, origin=str(path)):
        raise _damaged(f"{path} has {name} that are not what align3r writes")


def _read_cameras(folder: Path, *, n_frames: int) -> dict[str, np.ndarray]:
    path = folder / "cameras.npz"
    check_inside(path, folder)
    if not path.is_file():
        raise _damaged(f"{path} is missing")
    try:
        arrays = read_npz(path, tuple(_ARRAYS))
    except ValueError as error:
        raise _damaged(f"{path} cannot be read: {error}") from error
    for name, shape in _ARRAYS.items():
        if arrays[name].shape != (n_frames, *shape):
            raise _damaged(
                f"{name} in {path} has shape {arrays[name].shape}, not {(n_frames, *shape)}"
            )
        if not np.isfinite(arrays[name]).all():
            raise _damaged(f"{name} in {path} holds values that are not finite")
    if what := wrong_camera(arrays["world_from_cam"], arrays["K"]):
        raise _damaged(f"{what} in {path}")
    return arrays


def _check_files(folder: Path, *, n_frames: int) -> None:
    """Every frame has its files; only the masks may be absent, and then all of them."""
    kinds = {"depth": "exr", "images": "jpg"}
    if (folder / "moving").is_dir():
        kinds["moving"] = "png"
    for kind, suffix in kinds.items():
        check_inside(folder / kind, folder)
        names = [f"{i:06d}.{suffix}" for i in range(n_frames)]
        missing = [name for name in names if not (folder / kind / name).is_file()]
        if missing:
            raise _damaged(
                f"{len(missing)} of {n_frames} files are missing in {folder / kind}, "
                f"the first is {missing[0]}"
            )
        for name in names:
            check_inside(folder / kind / name, folder)


def _short(value: object) -> str:
    """A value of a file as a few words, for people."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _damaged(message: str) -> InputError:
    return InputError(message, hint="the result is damaged: reconstruct again")
