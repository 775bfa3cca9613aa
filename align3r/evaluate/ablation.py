"""What the parts of the method are worth: the papers' ablations, over a whole data set."""

from __future__ import annotations

import logging
import shutil
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from align3r.config import Options
from align3r.datasets.truth import Truth
from align3r.errors import InputError, UsageError, first_line, in_words
from align3r.evaluate.comparing import compare
from align3r.evaluate.comparison_report import COLUMNS, RUN, Row, describe_runs
from align3r.evaluate.comparison_report import in_words as rows_in_words
from align3r.evaluate.metrics import average_rows
from align3r.evaluate.named_log import log_of
from align3r.evaluate.one_sequence import file_name, reader_of
from align3r.evaluate.protocol_table import protocol
from align3r.evaluate.protocols import Protocol
from align3r.evaluate.report import markdown_table
from align3r.evaluate.running import (
    choose_sequences,
    configuration,
    open_evaluation,
    resolved,
    stored,
)
from align3r.evaluate.tasks.reconstructing import image_files, with_rate
from align3r.evaluate.variations import read_vary
from align3r.io.jsonable import write_json
from align3r.io.lock import one_run_at_a_time
from align3r.io.places import output_place
from align3r.io.whole import disk_errors_in_words
from align3r.prediction import fetch_weights
from align3r.progress import Report, as_report
from align3r.types import Progress

log = logging.getLogger(__name__)

TABLES = {
    "geometry": "Table 1, depth map or scale map: with the same start a free scale map is the same "
    "problem as a depth map; scale-grid is the one that uses what a prior knows",
    "flow": "Table 3, flow loss on or off",
    "method": "Table 4, pairs and time with the graph of each method and the same model",
}
"""What is varied -> which table of the paper asks it."""
NEEDS_WEIGHTS = (
    "Table 2 (depth map instead of point map as input) compares two trained networks; weights of "
    "the first are not published, so it cannot be run."
)
ABSENT = ("loss", "pair", "flow", "smooth", "prior", "pose")
"""Of each sequence alone: sums over its own pixels."""


@dataclass(frozen=True)
class Ablation:
    """Runs that differ in one thing each, averaged over the sequences."""

    rows: Sequence[Row]
    """A row a run, the base run first."""
    sequences: Mapping[str, Mapping[str, Any]]
    """What compare.json holds, of every sequence that all runs are measured of."""
    failed: Mapping[str, str]
    """Why the others are not, a sentence each."""
    remarks: Sequence[str]


def ablate(
    dataset: str,
    root: str | Path,
    out: str | Path,
    *,
    vary: Sequence[str] = ("geometry", "flow", "method"),
    options: Options | None = None,
    sequences: Sequence[str] = (),
    progress: bool | Progress = False,
) -> Ablation:
    """Compare variants on every sequence of a data set, and average.

    Args:
        dataset: One that a protocol `video`, `depth` or `pose` is about; the first of these whose
            frames are taken.
        root: Its folder.
        out: Folder of the outcome: one folder a sequence with compare.md and compare.png, and the
            averages. The same call again goes on where the last one stopped.
        vary: As in `compare`; `method` is the pair graph of each method.
        options: Of the base run.
        sequences: Names or patterns; all when empty.
        progress: As in `reconstruct`.

    Raises:
        UsageError: What `compare` and `evaluate` raise.
        InputError: Likewise.
        WeightsError: Likewise.
    """
    rules = _frames_of(dataset)
    options = resolved(rules, options or Options())
    # What is wrong for all sequences is said before the first.
    read_vary(vary, options)
    root, out, report = Path(root).expanduser().absolute(), output_place(out), as_report(progress)
    reader = reader_of(rules)
    names = choose_sequences(rules, reader.names(root), sequences)
    fetch_weights(options)
    config = configuration(rules, root, options) | {"vary": list(vary)}
    with one_run_at_a_time(out):
        open_evaluation(out, config, overwrite=options.output.overwrite)
        done: dict[str, Mapping[str, Any]] = {}
        failed: dict[str, str] = {}
        for k, name in enumerate(names):
            report("sequences", k, len(names))
            folder = out / "sequences" / file_name(name)
            known = stored(folder / "compare.json")
            try:
                with log_of(name):
                    done[name] = known or _compare_one(
                        name, root, folder, rules=rules, vary=vary, options=options, report=report
                    )
            except Exception as error:
                # Whatever goes wrong with a sequence is that sequence's alone.
                failed[name] = _failure(name, error)
        report("sequences", len(names), len(names))
        found = Ablation(_averaged(done), done, failed, _remarks(vary, names, failed))
        _write(found, config, out)
    return found


def _failure(name: str, error: Exception) -> str:
    """Why a sequence failed, as it is logged."""
    why = str(in_words(error) or f"{type(error).__name__}: {first_line(error)}")
    log.error("%s: %s", name, why)
    log.debug("%s", "".join(traceback.format_exception(error)).rstrip())
    return why


def _frames_of(dataset: str) -> Protocol:
    for task in ("video", "depth", "pose"):
        try:
            return protocol(task, dataset)
        except UsageError:
            continue
    raise UsageError(
        f"there are no videos in {dataset!r} to ablate on",
        hint="see `align3r evaluate list` for data sets with the task video, depth or pose",
    )


def _compare_one(
    name: str,
    root: Path,
    folder: Path,
    *,
    rules: Protocol,
    vary: Sequence[str],
    options: Options,
    report: Report,
) -> Mapping[str, Any]:
    """The report of one sequence; of its results only the pictures and figures are kept."""
    sequence = reader_of(rules).read(root, name)
    chosen = rules.pick.of(len(sequence), name)
    if not len(chosen):
        raise InputError(
            f"{name} has {len(sequence)} frames, and {rules.name} asks for {rules.pick.fewest}",
            hint="leave it out with --sequences",
        )
    sequence = sequence.select(chosen)
    output = replace(options.output, html=False, pictures=False, overwrite=True)
    options = with_rate(replace(options, output=output), sequence)

    def told(stage: str, done: int, total: int) -> None:
        report(f"{name}: {stage}", done, total)

    with image_files(sequence) as files:
        source = [str(file) for file in files]
        found = compare(
            source,
            folder,
            vary=vary,
            options=options,
            truth=_counted(sequence.truth, rules),
            progress=told,
        )
    for run in found.runs:
        shutil.rmtree(folder / run)
    return found.report


def _counted(truth: Truth, rules: Protocol) -> Truth:
    """The truth without the depth that the protocol does not count: the sky, for one."""
    read = truth.depth
    if read is None or not rules.depth:
        return truth
    bounds = next(iter(rules.depth.values()))
    return replace(truth, depth=lambda i: bounds.counted(read(i)))


def _averaged(done: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """The mean of each run over the sequences that have it."""
    rows: dict[str, list[dict[str, float]]] = {}
    for about in done.values():
        for row in describe_runs(about):
            figures = {k: float(v) for k, v in row.items() if k != RUN and k not in ABSENT}
            rows.setdefault(str(row[RUN]), []).append(figures)
    return [{RUN: name, **average_rows(of_run)} for name, of_run in rows.items()]


def _remarks(vary: Sequence[str], names: Sequence[str], failed: Mapping[str, str]) -> list[str]:
    said = [
        f"Means over {len(names) - len(failed)} of {len(names)} sequences, which count alike.",
        "Depth has one scale a sequence, whatever alignment the tables of the papers have.",
    ]
    said += [f"{TABLES[axis]}." for word in vary if (axis := word.partition("=")[0]) in TABLES]
    said.append(NEEDS_WEIGHTS)
    said += [f"Failed: {name}: {why}." for name, why in failed.items()]
    about = {column.head: column.about for column in COLUMNS if column.about}
    return [*said, *(f"{head}: {words}." for head, words in about.items() if head not in ABSENT)]


def _write(found: Ablation, config: Mapping[str, Any], out: Path) -> None:
    with disk_errors_in_words(out):
        write_json(
            {**config, "mean": found.rows, "sequences": found.sequences, "failed": found.failed},
            out / "ablation.json",
        )
        lines = "\n".join(f"- {line}" for line in found.remarks)
        text = f"# Ablation\n\n{markdown_table(rows_in_words(found.rows))}\n\n{lines}\n"
        (out / "ablation.md").write_text(text, encoding="utf-8")
