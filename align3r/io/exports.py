"""Every export, once: the same table is the API, the command line and the docs.

A new format is one row of `EXPORTS` and one writer, `write(scene, path, options)`; its own options
are a dataclass in `ExportOptions`. The writer gets a scratch path: an empty folder that is
there, or a file that is not, with the right suffix. What it leaves there takes the place of the old
one only if it returns; if it raises, nothing has happened. What a person should know is logged.
"""

from __future__ import annotations

import difflib
import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from align3r import __version__
from align3r.errors import UsageError
from align3r.export_options import ExportOptions
from align3r.io.lock import one_run_at_a_time
from align3r.io.whole import disk_errors_in_words, whole_or_nothing
from align3r.reconstruction import Reconstruction

Writer = Callable[[Reconstruction, Path, ExportOptions], None]
"""Writes a scene; `path` is the empty folder, or the file, to fill."""

MARK = "align3r.json"
"""In every folder that is exported: which format it is, its axes and its unit of length."""


@dataclass(frozen=True)
class Export:
    """One format."""

    name: str
    """File or folder that the command line writes; a folder has no suffix."""
    what: str
    """What is in it, and its axes: one sentence without a full stop."""
    writer: str
    """`module:function` in this room, imported on use: most formats need a library of their own."""

    def what_with(self, options: ExportOptions) -> str:
        """What is in it when it is written with these options."""
        usual = f"{ExportOptions.depth_levels:g} levels"
        return self.what.replace(usual, f"{options.depth_levels:.10g} levels")

    @property
    def is_folder(self) -> bool:
        """Whether the export is a folder of files."""
        return not Path(self.name).suffix

    def load_writer(self) -> Writer:
        """Import the writer."""
        module, _, function = self.writer.partition(":")
        writer: Writer = getattr(importlib.import_module(f"align3r.io.{module}"), function)
        return writer


EXPORTS: dict[str, Export] = {
    "colmap": Export(
        "colmap",
        "images, masks (black is ignored) and sparse/0 with tracks, COLMAP axes (y down)",
        "colmap:write_colmap",
    ),
    "nerfstudio": Export(
        "nerfstudio",
        "transforms.json with images, masks, depths and points, OpenGL cameras (y up, z backward)",
        "nerfstudio:write_nerfstudio",
    ),
    "vipe": Export(
        "vipe",
        "rgb, pose, intrinsics, depth and mask as ViPE writes them, OpenCV axes (y down)",
        "vipe:write_vipe",
    ),
    "megasam": Export(
        "scene_sgd_cvd_hr.npz",
        "images, depths, intrinsic and cam_c2w as MegaSaM writes them, OpenCV axes (y down)",
        "megasam:write_megasam",
    ),
    "depth-png": Export(
        "depth-png",
        "z-depth as 16-bit PNG, 1000 levels a unit, 0 = unknown",
        "depth_images:write_depth_pngs",
    ),
    "tum": Export(
        "trajectory.txt",
        "seconds, position, quaternion x y z w of world_from_cam",
        "tum:export_tum",
    ),
    "ply": Export("points.ply", "static points, OpenCV axes (y down)", "ply:export_ply"),
    "ply-frames": Export(
        "ply-frames",
        "a cloud a frame with confidence and moving, OpenCV axes (y down)",
        "ply:export_ply_frames",
    ),
    "glb": Export(
        "scene.glb",
        "static points, a film of the moving ones, cameras; y up",
        "glb:write_glb",
    ),
    "rerun": Export(
        "scene.rrd",
        "images, depth, masks, points and cameras over time, rerun's RDF axes (y down)",
        "rerun:write_rerun",
    ),
    "blender": Export(
        "blender",
        "build_scene.py for `blender --python`, clouds and frames; z up in Blender",
        "blender:write_blender",
    ),
}
"""Every format by the name a person types."""


def export(
    scene: Reconstruction,
    to: str,
    path: str | Path,
    *,
    options: ExportOptions | None = None,
    **overrides: Any,
) -> Path:
    """Write the scene in another program's format; see `Reconstruction.export`.

    What is at `path` is replaced with `overwrite`; without it, only a file in the folder `export`
    of a result, or a folder that is an export of the same format.

    Raises:
        UsageError: There is no such format or option, or `path` is taken by something else.
        InputError: The place cannot be written, is full, or a file of the scene is damaged.
    """
    kind, path = find_export(to), Path(path)
    options = _with(options or ExportOptions(), overrides)
    writer = kind.load_writer()
    check_export(to, path, overwrite=options.overwrite)
    with disk_errors_in_words(path), one_run_at_a_time(path):
        if kind.is_folder:
            place = whole_or_nothing(
                path, check=lambda: check_place(path, to, overwrite=options.overwrite)
            )
        else:
            place = _whole_file(path)
        with place as part:
            writer(scene, part, options)
            if kind.is_folder:
                _mark(part, to, scene, options)
    return path


def find_export(to: str) -> Export:
    """The row of a format.

    Raises:
        UsageError: There is no such format.
    """
    if to not in EXPORTS:
        close = difflib.get_close_matches(to, EXPORTS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(EXPORTS)}"
        raise UsageError(f"there is no export {to!r}", hint=hint)
    return EXPORTS[to]


def check_export(to: str, path: Path, *, overwrite: bool) -> None:
    """Refuse a place that an export must not be written to; nothing is changed.

    Raises:
        UsageError: It is in a result of align3r, under a file, or taken.
        InputError: The place cannot be read.
    """
    with disk_errors_in_words(path):
        above = next((folder for folder in path.parents if folder.exists()), path.parent)
        if above.exists() and not above.is_dir():
            raise UsageError(
                f"{above} exists and is not a folder", hint="choose another place with -o"
            )
        if _is_result(path.parent):
            raise UsageError(
                f"{path.parent} is a result of align3r, and exports would mix with its files",
                hint="choose another place with -o; without it, exports go to OUT/export",
            )
        if find_export(to).is_folder:
            check_place(path, to, overwrite=overwrite)
        elif path.is_dir():
            raise UsageError(f"{path} is a folder", hint="name the file to write")
        elif (path.is_symlink() or path.exists()) and not (overwrite or _in_export(path)):
            raise UsageError(
                f"{path} exists and would be replaced",
                hint="add --overwrite, or choose another place with -o",
            )


def _is_result(folder: Path) -> bool:
    return (folder / "scene.json").exists() and (folder / "cameras.npz").exists()


def _in_export(path: Path) -> bool:
    """Whether the file lies in the folder `export` of a result: exports are all it is for."""
    folder = path.parent.resolve()
    return folder.name == "export" and _is_result(folder.parent)


def _with(options: ExportOptions, overrides: dict[str, Any]) -> ExportOptions:
    names = [field.name for field in fields(ExportOptions)]
    unknown = set(overrides) - set(names)
    if unknown:
        raise UsageError(f"unknown options {sorted(unknown)}", hint=f"there are {sorted(names)}")
    return replace(options, **overrides)


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """Give the path of a file that becomes `path` only if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays the last one: some libraries go by it.
    part = path.with_name(f".part.{path.name}")
    part.unlink(missing_ok=True)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _mark(folder: Path, to: str, scene: Reconstruction, options: ExportOptions) -> None:
    """Say in the folder what it holds."""
    about = {
        "export": to,
        "what": EXPORTS[to].what_with(options),
        "frames": len(scene),
        "scale": scene.scale,
        "align3r": __version__,
    }
    (folder / MARK).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def check_place(path: Path, to: str, *, overwrite: bool) -> None:
    """Refuse a taken place, unless it holds an export of the same format or `overwrite` is on.

    Raises:
        UsageError: It is taken. A link, a file, a result of align3r and a folder that the program
            runs in are never replaced.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise UsageError(f"{path} exists and is not a folder", hint="choose another place with -o")
    if not path.exists() or not any(path.iterdir()):
        return
    if (path / "scene.json").exists():
        raise UsageError(
            f"{path} is a result of align3r, not an export", hint="choose another place with -o"
        )
    if Path.cwd().is_relative_to(path.resolve()):
        raise UsageError(f"{path} is where you are", hint="choose another place with -o")
    if overwrite or _mark_of(path) == to:
        return
    raise UsageError(
        f"{path} exists and is not an export to {to}",
        hint="add --overwrite, or choose another place with -o",
    )


def _mark_of(path: Path) -> str | None:
    """Which format a folder was exported to; None for any other folder."""
    try:
        about = json.loads((path / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return about.get("export") if isinstance(about, dict) else None
