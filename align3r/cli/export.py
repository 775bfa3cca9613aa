"""`align3r export`: a result in other formats."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from align3r.cli.arguments import Common, parse
from align3r.cli.terminal import start_log

if TYPE_CHECKING:
    from align3r.reconstruction import Reconstruction

Format = Literal["tum", "ply", "glb"]
FILES: dict[str, tuple[str, str]] = {
    "tum": ("trajectory.txt", "seconds, position, quaternion x y z w of world_from_cam"),
    "ply": ("points.ply", "static points, OpenCV axes (y down)"),
    "glb": ("scene.glb", "static points and cameras, y up"),
}
"""File of a format, and what is in it."""


@dataclass(frozen=True, kw_only=True)
class Export(Common):
    """Arguments of `align3r export`."""

    result: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="OUT")]
    """Result folder."""
    to: tuple[Format, ...]
    """Formats to write."""
    out: Annotated[str | None, tyro.conf.arg(aliases=("-o",))] = None
    """Folder for the files; OUT/export when not given."""
    min_confidence: float = 1.5
    """Points need at least this confidence."""
    max_points: int = 1_000_000
    """Most points in ply and glb."""


def run(words: Sequence[str]) -> int:
    """Write every format asked for; each file is there whole or not at all."""
    args = parse(
        Export, words, command="export", description="Write a result in other programs' formats."
    )
    start_log(verbose=args.verbose, quiet=args.quiet)
    from align3r.errors import UsageError
    from align3r.io.result import load
    from align3r.io.whole import disk_errors_in_words

    if not args.to:
        raise UsageError("no format is named", hint="add --to tum ply glb")
    scene = load(args.result)
    folder = Path(args.out) if args.out else Path(args.result) / "export"
    writers = _writers(args)
    with disk_errors_in_words(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in dict.fromkeys(args.to):
            path = folder / FILES[name][0]
            # The suffix stays the last one: trimesh goes by it.
            part = path.with_name(f".part.{path.name}")
            try:
                writers[name](scene, part)
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            print(f"{path}  {FILES[name][1]}")
    return 0


def _writers(args: Export) -> dict[str, Callable[[Reconstruction, Path], None]]:
    from align3r.io.glb import write_glb
    from align3r.io.ply import write_ply
    from align3r.io.tum import write_tum

    points, sure = args.max_points, args.min_confidence
    return {
        "tum": write_tum,
        "ply": lambda scene, path: write_ply(scene, path, max_points=points, min_confidence=sure),
        "glb": lambda scene, path: write_glb(scene, path, max_points=points, min_confidence=sure),
    }
