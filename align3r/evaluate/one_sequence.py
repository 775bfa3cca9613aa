"""What a worker does: one sequence, measured and written down, every error in words."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from align3r import __version__
from align3r.config import Options
from align3r.datasets.table import Dataset, dataset
from align3r.errors import first_line, in_words
from align3r.evaluate.named_log import kept_warnings, log_of
from align3r.evaluate.protocol_table import PROTOCOLS
from align3r.evaluate.protocols import Protocol
from align3r.evaluate.tasks.table import measurer
from align3r.io.jsonable import write_json
from align3r.io.png import write_image
from align3r.io.whole import disk_errors_in_words
from align3r.parallel import limit_threads
from align3r.progress import Report, as_report

_USED_SHARE = 0.9
"""Of its share of the memory, what a worker plans with."""


@dataclass(frozen=True)
class Job:
    """One sequence to measure; plain values, so that any machine understands them."""

    protocol: str
    """Its name in the table."""
    root: Path
    """Of the data set, absolute."""
    sequence: str
    options: Options
    folder: Path
    """Where the outcome goes, absolute."""


def file_name(sequence: str) -> str:
    """Name of the files of a sequence."""
    return sequence.replace("/", "~")


def reader_of(protocol: Protocol) -> Dataset:
    """The row of its data set, with the settings of the protocol."""
    found = dataset(protocol.reads or protocol.dataset)
    return replace(found, settings={**found.settings, **protocol.reader})


def measure_one(job: Job, *, threads: int, share: float) -> Mapping[str, Any]:
    """Measure a sequence in a process of its own.

    Args:
        job: What to do.
        threads: To compute in.
        share: Part of the machine that is this worker's.

    Returns:
        What `measure_here` does, and `told`: warnings, which nobody has seen yet.
    """
    # Before anything is imported that looks at it.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    limit_threads(threads)
    options = job.options
    if options.memory_budget is None and share < 1:
        from align3r.device import machine_memory_bytes

        budget = _USED_SHARE * share * machine_memory_bytes() / 1e9
        job = replace(job, options=replace(options, memory_budget=round(budget, 3)))
    with kept_warnings() as told:
        entry = measure_here(job, as_report(False))
    return {**entry, "told": told}


def measure_here(job: Job, report: Report) -> Mapping[str, Any]:
    """Measure a sequence and write its JSON and pictures.

    Returns:
        What the JSON holds: `state` is `measured`, `failed` (with `error` and `hint`) or
        `left out`. Whatever goes wrong with a sequence is that sequence's alone.

    Raises:
        InputError: The outcome cannot be written.
    """
    protocol, started = PROTOCOLS[job.protocol], time.monotonic()
    entry: dict[str, Any] = {"sequence": job.sequence, "align3r": __version__}
    pictures: Mapping[str, Any] = {}
    try:
        with log_of(job.sequence):
            found, pictures = _measured(protocol, job, report)
        entry |= found
    except Exception as error:
        entry |= {"state": "failed", **_words(error, job)}
    entry["seconds"] = round(time.monotonic() - started, 3)
    with disk_errors_in_words(job.folder):
        job.folder.mkdir(parents=True, exist_ok=True)
        stem = file_name(job.sequence)
        entry["pictures"] = {what: f"{stem}.{what}.png" for what in pictures}
        for what, name in entry["pictures"].items():
            write_image(pictures[what], job.folder / name)
        # Last: a sequence is done when this is there.
        write_json(entry, job.folder / f"{stem}.json")
    return entry


def _measured(
    protocol: Protocol, job: Job, report: Report
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What its JSON says of a sequence, and its pictures."""
    subject, why_not = _read(protocol, job)
    if subject is None:
        return {"state": "left out", "error": why_not}, {}
    measured = measurer(protocol.task)(subject, protocol, job.options, report)
    found = {
        "state": "measured",
        "row": measured.row,
        "frames": measured.frames,
        "remarks": getattr(subject, "remarks", ()),
        "about": measured.about,
    }
    return found, measured.pictures


def _read(protocol: Protocol, job: Job) -> tuple[Any, str]:
    """What the task measures, or None and why there is nothing to measure."""
    reader = reader_of(protocol)
    if reader.kind == "pairs":
        return reader.read_pairs(job.root, job.sequence), ""
    if reader.kind == "samples":
        return reader.read_sample(job.root, job.sequence), ""
    sequence = reader.read(job.root, job.sequence)
    chosen = protocol.pick.of(len(sequence), job.sequence)
    if not len(chosen):
        counts = f"it has {len(sequence)} frames"
        return None, f"{counts}, and the protocol asks for {protocol.pick.fewest} or more"
    sequence = sequence.select(chosen)
    lost = int((~np.isfinite(sequence.truth.world_from_cam).all(axis=(1, 2))).sum())
    if protocol.all_posed and lost:
        counts = f"{lost} of {len(chosen)} frames have no pose"
        return None, f"{counts}, and the protocol leaves out such sequences"
    return sequence, ""


def _words(error: Exception, job: Job) -> dict[str, str]:
    known = in_words(error)
    if known is not None:
        return {"error": str(known), "hint": known.hint}
    return {
        "error": f"{type(error).__name__}: {first_line(error)}",
        "hint": f"the traceback is in {job.folder.name}/{file_name(job.sequence)}.json",
        "traceback": "".join(traceback.format_exception(error)),
    }
