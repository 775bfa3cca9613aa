"""Where a result may go, and what has to survive when one result replaces another."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from align3r.config import Options
from align3r.errors import UsageError
from align3r.io.sources import Source, resolve_source

_ELSEWHERE = "choose another place with -o"
_OF_A_RESULT = frozenset(
    {
        "scene.json",
        "cameras.npz",
        "depth",
        "moving",
        "images",
        "points.ply",
        "scene.html",
        "depth.mp4",
        "cameras.png",
    }
)
_OF_A_COMPARISON = frozenset({"compare.json", "compare.md", "compare.png"})
_OF_THE_SYSTEM = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""What file managers leave in every folder that they show."""


def output_place(out: str | Path) -> Path:
    """The output folder under a name of its own: `.` and `..` have none.

    Raises:
        UsageError: It is empty, or the root of the disk.
    """
    if not str(out).strip():
        raise UsageError("the name of the output folder is empty", hint="name a folder with -o")
    path = Path(out)
    if path.name in ("", ".."):
        path = path.resolve()
    if not path.name:
        raise UsageError(f"{path} is the root of the disk, no place for a result", hint=_ELSEWHERE)
    return path


def check_not_inside(out: Path) -> None:
    """Refuse to replace the folder that the process, and the user's shell, are in.

    Raises:
        UsageError: The current folder is `out`, or lies in it.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:
        return  # It has been removed.
    if here.is_relative_to(out.resolve()):
        raise UsageError(
            f"{out} holds the current folder and cannot become a result",
            hint="name a folder in it, such as -o result, or choose another place",
        )


def check_only_ours(out: Path) -> None:
    """Refuse to replace a result, a comparison or the shots of a video with other things in it.

    Raises:
        UsageError: Something in it was not written by the run that wrote `out`.
    """
    others = sorted(_others(out))
    if others:
        count = "1 thing" if len(others) == 1 else f"{len(others)} things"
        raise UsageError(
            f"{out} holds {count} besides the result ({others[0]}) and will not be replaced",
            hint="move what you want to keep out of it, or choose another place with -o",
        )


def check_inputs_stay(out: Path, source: Source, options: Options) -> None:
    """Refuse to replace a folder that the run reads from.

    Raises:
        UsageError: The source, or a file or folder in the options, lies in `out`.
        InputError: The source cannot be read.
    """
    if not options.output.overwrite or not out.is_dir():
        return
    place = out.resolve()
    for path in _inputs(source, options):
        # A link in there would be lost as much as a file that a link elsewhere leads to.
        link = path.parent.resolve() / path.name
        if path.resolve().is_relative_to(place) or link.is_relative_to(place):
            raise UsageError(
                f"the input {path} lies in {out}, which is to be replaced",
                hint="move it out of there, or choose another place with -o",
            )


def _inputs(source: Source, options: Options) -> Iterator[Path]:
    """The files of the source, what names them, and all paths in the options that exist."""
    yield from resolve_source(source).paths
    camera, prior = options.camera, options.prior
    given = [camera.poses, camera.colmap, camera.calibration, camera.masks, prior.dir]
    given += [options.network.weights, options.network.adapter, prior.weights]
    if isinstance(source, str | Path):
        given.append(str(source))
    for name in given:
        path = None if name is None else Path(name).expanduser()
        if path is not None and path.exists():
            yield path


def _others(out: Path, *, within: str = "") -> Iterator[str]:
    """Names in `out` of what no run writes there, those in its results included."""
    is_result = (out / "scene.json").is_file()
    is_comparison = (out / "compare.json").is_file()
    is_shots = (out / "shots.json").is_file()
    for path in out.iterdir():
        name = within + path.name
        if path.name in _OF_THE_SYSTEM:
            continue
        if is_result and path.name in _OF_A_RESULT:
            continue
        if is_shots and path.name == "shots.json":
            continue
        if is_comparison and path.name in _OF_A_COMPARISON:
            continue
        holds = is_comparison or (is_shots and path.name.startswith("shot_"))
        if holds and not path.is_symlink() and (path / "scene.json").is_file():
            yield from _others(path, within=f"{name}/")
        else:
            yield name
