"""`align3r batch`: many videos, on this machine or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from align3r.batch.runner import BatchOptions, plan_many, reconstruct_many
from align3r.batch.values import Outcome
from align3r.cli.arguments import SHORT_HELP, Switch
from align3r.cli.reconstruct import Solve, parse_solve
from align3r.cli.terminal import Bars, start_log, table

SOME_FAILED = 7


@dataclass(frozen=True, kw_only=True)
class Batch(Solve):
    """Arguments of `align3r batch`."""

    source: Annotated[
        tuple[str, ...],
        tyro.conf.Positional,
        tyro.conf.arg(metavar="INPUT", help_behavior_hint="(required)"),
    ]
    """Videos, folders of images (a video each), folders of videos, list files, quoted patterns."""
    out: Annotated[str, tyro.conf.arg(aliases=("-o",))] = "outs"
    """Folder for the results, one folder a video."""
    dry_run: Switch = False
    """Print what would be done, and stop."""
    batch: Annotated[BatchOptions, tyro.conf.arg(name="")] = field(default_factory=BatchOptions)


def run(words: Sequence[str]) -> int:
    """Reconstruct all videos that are not done, and say what became of each."""
    about = f"Many videos; what is done is skipped, a failure stops no other. {SHORT_HELP}"
    args = parse_solve(Batch, words, command="batch", description=about)
    start_log(verbose=args.verbose, quiet=args.quiet)
    if args.dry_run:
        print_outcomes(plan_many(args.source, args.out, options=args.options))
        return 0
    with Bars(enabled=not args.quiet) as bars:
        outcomes = reconstruct_many(
            args.source, args.out, options=args.options, batch=args.batch, progress=bars
        )
    failed = sum(outcome.state == "failed" for outcome in outcomes)
    if args.quiet:
        print_failures(outcomes)
    else:
        print_outcomes(outcomes)
        skipped = sum(outcome.skipped for outcome in outcomes)
        fresh = len(outcomes) - failed - skipped
        print(f"\n{args.out}: {fresh} done, {skipped} done before, {failed} failed")
    return SOME_FAILED if failed else 0


def print_outcomes(outcomes: Sequence[Outcome]) -> None:
    """A table of all, then what went wrong and the way out of it."""
    rows = [
        (
            outcome.out.name,
            "done before" if outcome.skipped else outcome.state,
            _or_dash(outcome.frames),
            _or_dash(outcome.seconds, ".0f"),
            str(outcome.warnings),
            str(outcome.attempts),
            str(outcome.exit_code),
        )
        for outcome in outcomes
    ]
    print(table(("video", "state", "frames", "seconds", "warnings", "starts", "exit code"), rows))
    print_failures(outcomes)


def print_failures(outcomes: Sequence[Outcome]) -> None:
    """What went wrong, and the way out of it."""
    for outcome in outcomes:
        if outcome.state == "failed":
            print(f"\n{_shown(outcome.source)}: {outcome.error}")
            if outcome.hint:
                print(f"  hint: {outcome.hint}")


def _or_dash(value: float | None, shape: str = "d") -> str:
    return "-" if value is None else format(value, shape)


def _shown(path: Path) -> str:
    """Relative to the current folder where it lies below it."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
