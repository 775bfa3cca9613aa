"""`align3r evaluate`: a protocol of a paper on a data set, or the papers' ablations."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from align3r.cli.arguments import SHORT_HELP, Common, parse, spell_out
from align3r.cli.compare import folded_table
from align3r.cli.terminal import Bars, start_log, table
from align3r.config import Options
from align3r.errors import UsageError
from align3r.io.user_cache import user_cache
from align3r.io.whole import disk_errors_in_words

SOME_FAILED = 7
RENDERED = "rendered"
Asked = Literal["video", "depth", "pose", "mono", "two-view", "multi-view", "ablation", "list"]


@dataclass(frozen=True, kw_only=True)
class Evaluate(Common):
    """Arguments of `align3r evaluate`."""

    task: Annotated[Asked, tyro.conf.Positional]
    """What is measured; `ablation`: what the method's parts are worth; `list`: print all
    protocols."""
    dataset: str | None = None
    """Which data set, as `align3r evaluate list` has them."""
    root: str | None = None
    """Folder of the data set; for `rendered`, where its scenes are kept (in the user's cache when
    not given)."""
    protocol: str | None = None
    """Whose protocol, where there are several: align3r, monst3r, cut3r, fin3r, vggt, ..."""
    sequences: tuple[str, ...] = ()
    """Only these sequences: names or quoted patterns."""
    out: Annotated[str | None, tyro.conf.arg(aliases=("-o",))] = None
    """Folder of the evaluation; PAPER_TASK_DATASET in the current folder when not given."""
    vary: tuple[str, ...] = ("geometry", "flow", "method")
    """Ablation: what is varied, one thing at a time: geometry (Table 1 of the paper), flow
    (Table 3), method (the pairs of each method, Table 4), solver, graph, prior."""
    jobs: int = 1
    """So many sequences at a time on this machine."""
    address: str | None = None
    """Ray cluster: HOST:PORT, ray://HOST:PORT or auto."""
    options: Annotated[Options, tyro.conf.arg(name="")] = field(default_factory=Options)


def run(words: Sequence[str]) -> int:
    """Measure what is not measured yet, and print the table."""
    about = f"A protocol of a paper on a data set, or ablations; resumes. {SHORT_HELP}"
    args = parse(Evaluate, spell_out(words), command="evaluate", description=about)
    start_log(verbose=args.verbose, quiet=args.quiet)
    if args.task == "list":
        print(listed())
        return 0
    if args.dataset is None:
        raise UsageError(
            "no data set is given",
            hint=f"align3r evaluate {args.task} --dataset NAME --root DIR; "
            "see `align3r evaluate list`",
        )
    _check(args)
    return _ablation(args) if args.task == "ablation" else _protocol(args)


def _check(args: Evaluate) -> None:
    """Refuse options that the task would not look at."""
    usual = Evaluate(task=args.task)
    ablation = args.task == "ablation"
    unread = ("protocol", "jobs", "address") if ablation else ("vary",)
    for name in unread:
        if getattr(args, name) != getattr(usual, name):
            raise UsageError(
                f"--{name} says nothing to `align3r evaluate {args.task}`",
                hint="leave it out" if ablation else "leave it out, or evaluate ablation",
            )


def _protocol(args: Evaluate) -> int:
    from align3r.evaluate.protocol_table import protocol
    from align3r.evaluate.report import comparison_table, remarks

    assert args.dataset is not None
    chosen = protocol(args.task, args.dataset, args.protocol)
    from align3r.evaluate.running import evaluate
    from align3r.evaluate.workers import Workers

    workers = Workers(jobs=args.jobs, address=args.address)
    root = _root(args)
    out = Path(args.out or chosen.name.replace("/", "_"))
    overwrite = args.options.output.overwrite
    with Bars(enabled=not args.quiet) as bars:
        summary = evaluate(
            chosen,
            root,
            out,
            options=args.options,
            sequences=args.sequences,
            workers=workers,
            overwrite=overwrite,
            progress=bars,
        )
    if not args.quiet:
        _print(comparison_table(summary), remarks(summary))
        print(f"\n{out}\n  report.html, report.md, sequences.csv, evaluation.json, sequences/")
    return SOME_FAILED if summary.of_state("failed") else 0


def _ablation(args: Evaluate) -> int:
    from align3r.evaluate.ablation import ablate
    from align3r.evaluate.comparison_report import in_words

    assert args.dataset is not None
    out = Path(args.out or f"ablation_{args.dataset}")
    with Bars(enabled=not args.quiet) as bars:
        found = ablate(
            args.dataset,
            _root(args),
            out,
            vary=args.vary,
            options=args.options,
            sequences=args.sequences,
            progress=bars,
        )
    if not args.quiet:
        _print(in_words(found.rows), found.remarks)
        print(f"\n{out}\n  ablation.md, ablation.json; every sequence has a folder of its own")
    return SOME_FAILED if found.failed else 0


def _root(args: Evaluate) -> Path:
    if args.dataset == RENDERED:
        root = user_cache(RENDERED) if args.root is None else Path(args.root)
        with disk_errors_in_words(root):
            root.mkdir(parents=True, exist_ok=True)
        return root
    if args.root is None:
        raise UsageError(
            f"no folder of {args.dataset} is given",
            hint=f"align3r evaluate {args.task} --dataset {args.dataset} --root DIR",
        )
    return Path(args.root)


def listed() -> str:
    """A table of all protocols, and of what is published for them."""
    from align3r.evaluate.protocol_table import ROWS
    from align3r.evaluate.published import published

    rows = [
        (
            row.task,
            row.dataset,
            row.paper,
            row.pick.in_words() if row.of_videos else f"all {row.things}",
            str(len(published(row.name))),
        )
        for row in sorted(ROWS, key=lambda row: row.task)
    ]
    return table(("task", "--dataset", "--protocol", "frames", "published rows"), rows)


def _print(found: tuple[Sequence[str], Sequence[Sequence[str]]], said: Sequence[str]) -> None:
    width = shutil.get_terminal_size((100, 24)).columns
    head, rows = found
    plain = [[cell.strip("*") for cell in row] for row in rows]
    print(folded_table(head, plain, width=width))
    for line in said:
        print(textwrap.fill(f"- {line}", width, subsequent_indent="  "))
