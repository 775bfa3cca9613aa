"""`align3r compare`: the same video solved with depth maps and with scale maps."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from align3r.cli.arguments import SHORT_HELP
from align3r.cli.reconstruct import Solve, one_or_many, parse_solve, result_folder
from align3r.cli.terminal import Bars, start_log, table
from align3r.config import Options
from align3r.errors import InputError, UsageError
from align3r.io.lock import one_run_at_a_time

if TYPE_CHECKING:
    from align3r.evaluate.sequences import Truth
    from align3r.reconstruction import Reconstruction

Geometry = Literal["depth", "scale"]
GEOMETRIES: tuple[Geometry, ...] = ("depth", "scale")
NAMES = {"depth": "depth map", "scale": "scale map"}
SHOWN = {
    "ate_m": "ATE, m",
    "ate_percent": "ATE, % of path",
    "rpe_rot_deg": "RPE rotation, deg",
    "focal_error_percent": "focal error, %",
    "abs_rel": "depth Abs Rel",
    "delta1": "depth delta < 1.25",
    "abs_rel_static": "Abs Rel, static pixels",
    "abs_rel_moving": "Abs Rel, moving pixels",
    "mask_iou": "moving mask IoU",
}
"""Scores of the table; compare.json has all."""


@dataclass(frozen=True, kw_only=True)
class Compare(Solve):
    """Arguments of `align3r compare`."""

    truth: str | None = None
    """Ground truth: the .npz of a rendered clip, or a folder in TUM layout."""


def run(words: Sequence[str]) -> int:
    """Run both, score both, and write the report."""
    about = f"Depth maps against scale maps: one run each, one report. {SHORT_HELP}"
    args = parse_solve(Compare, words, command="compare", description=about)
    start_log(verbose=args.verbose, quiet=args.quiet)
    source, out = one_or_many(args.source), result_folder(args.source, args.out, "compare")
    overwrite = args.options.output.overwrite
    check_place(out, overwrite=overwrite)
    truth = None if args.truth is None else _truth(Path(args.truth))
    work = out.with_name(f".{out.name}.compare")
    with one_run_at_a_time(out):
        runs = {
            geometry: reconstruct_once(
                source, work / geometry, variant(args.options, geometry), quiet=args.quiet
            )
            for geometry in GEOMETRIES
        }
        report = make_report(runs, source=source, truth=truth)
        with replacing(out):
            write_report(report, runs, work)
            work.replace(out)
    print(as_text(report))
    print(f"\n{out}")
    print("  compare.md, compare.json, compare.png; the two results are in depth/ and scale/")
    return 0


def _truth(path: Path) -> Truth:
    from align3r.evaluate.sequences import read_truth

    try:
        return read_truth(path)
    # What numpy answers to files of other kinds, and to arrays of other shapes.
    except (AttributeError, EOFError, IndexError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} holds no ground truth: wanted is the .npz of a rendered clip, or a folder in "
            "TUM layout",
            hint="write one with examples/render_clip.py",
        ) from error


def check_place(out: Path, *, overwrite: bool) -> None:
    """Refuse a taken place before any work is done.

    Raises:
        UsageError: `out` exists and overwriting is off, or it is no comparison.
        InputError: The place cannot be written.
    """
    from align3r.io.whole import check_output

    if out.is_dir() and any(out.iterdir()):
        if not overwrite:
            raise UsageError(
                f"{out} exists already", hint="add --overwrite, or choose another with -o"
            )
        if not (out / "compare.json").is_file():
            raise UsageError(
                f"{out} is not a comparison and will not be replaced", hint="choose another with -o"
            )
    else:
        check_output(out, overwrite)


@contextmanager
def replacing(out: Path) -> Iterator[None]:
    """Put what is at `out` aside while the block runs; bring it back if the block fails."""
    old = out.with_name(f".{out.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if out.exists():
        out.rename(old)
    try:
        yield
    except BaseException:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def variant(options: Options, geometry: Geometry) -> Options:
    """The same options with another geometry; the run replaces its own earlier outcome."""
    return dataclasses.replace(
        options,
        align=dataclasses.replace(options.align, geometry=geometry),
        output=dataclasses.replace(options.output, overwrite=True),
    )


def reconstruct_once(
    source: str | list[str], folder: Path, options: Options, *, quiet: bool
) -> Reconstruction:
    """One of the runs; not repeated if an interrupted comparison had finished it already."""
    from align3r import pipeline
    from align3r.io.cache import fingerprint
    from align3r.io.result import load

    key = fingerprint(source, options)
    note = folder.with_name(f"{folder.name}.key")
    if note.is_file() and note.read_text(encoding="utf-8") == key and folder.is_dir():
        return load(folder)
    note.unlink(missing_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with Bars(enabled=not quiet, prefix=f"{NAMES[options.align.geometry]}: ") as bars:
        pipeline.reconstruct(source, out=folder, options=options, progress=bars)
    note.write_text(key, encoding="utf-8")
    return load(folder)


def make_report(
    runs: Mapping[Geometry, Reconstruction], *, source: str | list[str], truth: Any | None
) -> dict[str, Any]:
    """Everything that was measured, for compare.json."""
    from align3r import __version__
    from align3r.view.comparison import relative_scale

    report: dict[str, Any] = {
        "align3r": __version__,
        "source": source if isinstance(source, str) else list(source),
        "frames": len(runs["depth"]),
        "scale_map_to_depth_map_scale": relative_scale(runs["depth"], runs["scale"]),
        "runs": {},
    }
    for geometry, scene in runs.items():
        report["runs"][geometry] = {
            "seconds": sum(float(t["seconds"]) for t in scene.info.get("timings", [])),
            "losses": scene.info.get("losses", {}),
        }
        if truth is not None:
            from align3r.evaluate.score import score

            report["runs"][geometry]["score"] = score(scene, truth)
    return report


def write_report(
    report: dict[str, Any], runs: Mapping[Geometry, Reconstruction], folder: Path
) -> None:
    """Write compare.json, compare.md and compare.png beside the two results."""
    from align3r.io.jsonable import jsonable
    from align3r.view.comparison import write_comparison

    names = (NAMES["depth"], NAMES["scale"])
    write_comparison(runs["depth"], runs["scale"], folder / "compare.png", names=names)
    (folder / "compare.md").write_text(as_markdown(report), encoding="utf-8")
    for note in folder.glob("*.key"):
        note.unlink()
    for cache in folder.glob(".*.cache"):
        shutil.rmtree(cache)
    for lock in folder.glob(".*.lock"):
        lock.unlink()
    text = json.dumps(jsonable(report), indent=2, allow_nan=False)
    (folder / "compare.json").write_text(text + "\n", encoding="utf-8")


def rows(report: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Name of a figure and its value in both runs."""
    one, two = report["runs"]["depth"], report["runs"]["scale"]
    found = [("seconds", f"{one['seconds']:.1f}", f"{two['seconds']:.1f}")]
    for name in one["losses"]:
        found.append((f"loss: {name}", _number(one["losses"][name]), _number(two["losses"][name])))
    for name, words in SHOWN.items():
        if name in one.get("score", {}):
            found.append((words, _number(one["score"][name]), _number(two["score"][name])))
    return found


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4g}"


def as_text(report: dict[str, Any]) -> str:
    """The table for the terminal."""
    return table(("", NAMES["depth"], NAMES["scale"]), rows(report))


def as_markdown(report: dict[str, Any]) -> str:
    """The same table for people and pull requests."""
    lines = [
        "# Depth map against scale map",
        "",
        f"Source: {report['source']}, {report['frames']} frames, align3r {report['align3r']}.",
        "",
        f"| | {NAMES['depth']} | {NAMES['scale']} |",
        "|---|---:|---:|",
        *[f"| {name} | {one} | {two} |" for name, one, two in rows(report)],
        "",
        "![image, both depths, their ratio](compare.png)",
        "",
        "Both depths are shown in one scale. Ratio: white is equal, red: the depth map is",
        "farther, blue: it is nearer; full colour is 20 %.",
        "",
    ]
    return "\n".join(lines)
