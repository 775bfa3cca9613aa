"""`align3r compare`: one video reconstructed in several ways, and one report."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from align3r.cli.arguments import SHORT_HELP
from align3r.cli.early import check_given
from align3r.cli.reconstruct import Solve, one_or_many, parse_solve, result_folder
from align3r.cli.terminal import Bars, start_log, table
from align3r.errors import InputError
from align3r.evaluate.comparison_place import check_place
from align3r.io.places import check_inputs_stay


@dataclass(frozen=True, kw_only=True)
class Compare(Solve):
    """Arguments of `align3r compare`."""

    out: Annotated[str | None, tyro.conf.arg(aliases=("-o",))] = None
    """Folder for the report and the results; NAME_compare in the current folder when not given."""
    vary: tuple[str, ...] = ("geometry",)
    """Vary geometry, solver, flow, graph, method, prior; or some values of one:
    graph=complete,logwin."""
    truth: str | None = None
    """Ground truth: the .npz of a rendered clip, or a folder in TUM layout."""


def run(words: Sequence[str]) -> int:
    """Make all runs, score them, and write the report."""
    about = f"One video, reconstructed in several ways: one report. {SHORT_HELP}"
    args = parse_solve(Compare, words, command="compare", description=about)
    start_log(verbose=args.verbose, quiet=args.quiet)
    source, out = one_or_many(args.source), result_folder(args.source, args.out, "compare")
    _refuse_early(source, out, args)

    from align3r.evaluate.comparing import compare
    from align3r.evaluate.comparison_report import in_words, remarks

    with Bars(enabled=not args.quiet) as bars:
        found = compare(
            source, out, vary=args.vary, options=args.options, truth=args.truth, progress=bars
        )
    if args.quiet:
        return 0
    width = shutil.get_terminal_size((100, 24)).columns
    print(folded_table(*in_words(found.table), width=width))
    for remark in remarks(found.report):
        print("\n" + textwrap.fill(remark, width))
    print_places(out, list(found.runs))
    return 0


def _refuse_early(source: str | list[str], out: Path, args: Compare) -> None:
    """All that needs no torch, which is slow to import."""
    check_given(source, args.options)
    if args.truth is not None and not Path(args.truth).exists():
        raise InputError(
            f"there is no ground truth at {args.truth}",
            hint="give the .npz that examples/render_clip.py writes, or a folder in TUM layout",
        )
    check_inputs_stay(out, source, args.options)
    check_place(out, overwrite=args.options.output.overwrite)


def print_places(out: Path, runs: Sequence[str]) -> None:
    """Say what there is to open."""
    folders = ", ".join(f"{name}/" for name in runs)
    print(f"\n{out}")
    print(f"  compare.md, compare.json, compare.png; the results are in {folders}")


def folded_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> str:
    """The table, in as many parts as the width asks for; each begins with the first column."""
    parts, part = [], [0]
    for column in range(1, len(head)):
        wider = table(*_columns(head, rows, [*part, column])).splitlines()
        if len(part) > 1 and max(map(len, wider)) > width:
            parts.append(part)
            part = [0]
        part.append(column)
    return "\n\n".join(table(*_columns(head, rows, part)) for part in [*parts, part])


def _columns(
    head: Sequence[str], rows: Sequence[Sequence[str]], chosen: Sequence[int]
) -> tuple[list[str], list[list[str]]]:
    return [head[c] for c in chosen], [[row[c] for c in chosen] for row in rows]
