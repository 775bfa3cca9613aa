"""`align3r reconstruct`: the main job."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypeVar

import tyro

from align3r.cli.arguments import SHORT_HELP, Common, Switch, parse, spell_out
from align3r.cli.early import check_given, check_result_place
from align3r.cli.health import health_lines
from align3r.cli.terminal import Bars, Lines, start_log, timing_table
from align3r.config import Options
from align3r.errors import UsageError
from align3r.io.places import output_place

FILES = {
    "scene.html": "open in a browser: points, cameras, playback",
    "depth.mp4": "depth of every frame beside the image",
    "cameras.png": "the camera path from above and from the side",
    "points.ply": "static points, for any 3D program",
    "cameras.npz": "poses, intrinsics, times",
    "depth": "z-depth and confidence of every frame, EXR",
    "moving": "moving masks, PNG",
}
"""What there is to open, and what it is."""


@dataclass(frozen=True, kw_only=True)
class Solve(Common):
    """Arguments of commands that reconstruct."""

    source: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="INPUT", help_behavior_hint="(required)"),
    ]
    """A video, a folder of images, a quoted pattern, a list file, or several images."""
    out: Annotated[str | None, tyro.conf.arg(aliases=("-o",))] = None
    """Result folder; NAME_align3r in the current folder when not given."""
    config: str | None = None
    """Take the options of this scene.json; other options on the command line win over it."""
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)


@dataclass(frozen=True, kw_only=True)
class Reconstruct(Solve):
    """Arguments of `align3r reconstruct`."""

    split_shots: Switch = False
    """Reconstruct every shot of a video with cuts by itself: OUT/shot_000 and so on, and an index
    shots.json."""
    dry_run: Switch = False
    """Print the plan and the memory it needs, and stop."""


SolveArguments = TypeVar("SolveArguments", bound=Solve)


def run(words: Sequence[str]) -> int:
    """Reconstruct a video and say what there is to open."""
    about = f"Cameras, depth, moving masks and points from a video. {SHORT_HELP}"
    args = parse_solve(Reconstruct, words, command="reconstruct", description=about)
    lines = start_log(verbose=args.verbose, quiet=args.quiet)
    source, out = one_or_many(args.source), result_folder(args.source, args.out, "align3r")
    check_given(source, args.options)
    check_result_place(out, source, args.options, dry_run=args.dry_run)

    from align3r import pipeline

    if args.dry_run:
        print(pipeline.plan(source, args.options, out=out).describe())
        return 0
    if args.split_shots:
        return _split(source, out, args)
    with Bars(enabled=not args.quiet) as bars:
        scene = pipeline.reconstruct(source, out=out, options=args.options, progress=bars)
    print_warnings(scene.info, lines)
    if not args.quiet:
        print_outcome(scene.info, out)
    return 0


def _split(source: str | list[str], out: Path, args: Reconstruct) -> int:
    """Reconstruct shot by shot, and say what has become of each."""
    from align3r.splitting import reconstruct_shots

    with Bars(enabled=not args.quiet) as bars:
        shots = reconstruct_shots(source, out=out, options=args.options, progress=bars)
    if args.quiet:
        return 0
    print(f"{out}: {len(shots)} shot{'s' if len(shots) > 1 else ''}, see shots.json")
    for number, shot in enumerate(shots):
        if shot["folder"] is None:
            print(f"  shot {number:<4} failed: {shot['error']}")
        else:
            span = f"{shot['start']:.2f} to {shot['end']:.2f} s"
            print(f"  {shot['folder']}  {span}, {shot['n_frames']} frames")
    return 0


def parse_solve(
    kind: type[SolveArguments], words: Sequence[str], *, command: str, description: str
) -> SolveArguments:
    """Parse in two steps: the file of --config gives the defaults for everything else."""
    words = spell_out(words)
    config = _value_of("--config", words)
    default = None
    if config is not None:
        from align3r.cli.options_io import read_options

        default = kind(source=tyro.MISSING, options=read_options(Path(config)))
    args = parse(kind, words, command=command, description=description, default=default)
    if not args.source:
        raise UsageError("no input is given", hint=f"align3r {command} video.mp4")
    return args


def _value_of(flag: str, words: Sequence[str]) -> str | None:
    for k, word in enumerate(words):
        if word == flag and k + 1 < len(words):
            return words[k + 1]
        if word.startswith(flag + "="):
            return word.partition("=")[2]
    return None


def one_or_many(source: tuple[str, ...]) -> str | list[str]:
    """What the pipeline takes: one input by itself, several as a list."""
    return source[0] if len(source) == 1 else list(source)


def result_folder(source: tuple[str, ...], out: str | None, suffix: str) -> Path:
    """The folder asked for, or one named after the input in the current folder."""
    if out is not None:
        return output_place(out)
    # A pattern or a list of images is named after the folder that the images are in.
    first = Path(source[0])
    named = first.parent if len(source) > 1 or any(c in first.name for c in "*?[") else first
    return Path.cwd() / f"{named.resolve().stem or 'images'}_{suffix}"


def print_warnings(info: dict[str, object], lines: Lines) -> None:
    """Warnings that nobody has seen yet."""
    warnings = info.get("warnings", [])
    assert isinstance(warnings, list | tuple)
    for warning in warnings:
        if str(warning) not in lines.seen:
            print(f"warning: {warning}")


def print_outcome(info: dict[str, object], out: Path) -> None:
    """How well it went, times, and what there is to open."""
    for line in health_lines(info):
        print(line)
    timings = info.get("timings", [])
    assert isinstance(timings, list | tuple)
    if timings:
        print(timing_table(timings))
    print(f"\n{out}")
    for name, what in FILES.items():
        if (out / name).exists():
            print(f"  {name:<12} {what}")
    print(f"look around: align3r view {shlex.quote(str(out))}")
