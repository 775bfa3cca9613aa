"""One source reconstructed in several ways, and one report about them."""

from __future__ import annotations

import ctypes
import gc
import logging
import shutil
import sys
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from align3r import pipeline
from align3r.config import Options
from align3r.datasets.truth import Truth
from align3r.datasets.truth_files import read_truth
from align3r.errors import InputError
from align3r.evaluate.comparison_place import check_place, put_back, replacing
from align3r.evaluate.comparison_report import Row, describe_runs, make_report, write_report
from align3r.evaluate.score import check_same_video
from align3r.evaluate.variations import Run, plan_runs, read_vary
from align3r.io.cache import fingerprint
from align3r.io.lock import one_run_at_a_time
from align3r.io.places import check_inputs_stay, output_place
from align3r.io.result import load
from align3r.io.sources import Source
from align3r.io.video import read_frames
from align3r.pairwise.choice import choose_model
from align3r.pairwise.registry import MODELS
from align3r.prediction import fetch_weights
from align3r.progress import Report, as_report
from align3r.reconstruction import Reconstruction
from align3r.shared_stages import SharedStages
from align3r.types import Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Comparison:
    """What came out; all of it is in the folder, too."""

    runs: Mapping[str, Reconstruction]
    """By name, the base run first."""
    table: Sequence[Row]
    """A row a run, in the same order."""
    report: Mapping[str, Any]
    """What compare.json holds."""


def compare(
    source: Source,
    out: str | Path,
    *,
    vary: Sequence[str] = ("geometry",),
    options: Options | None = None,
    truth: Truth | str | Path | None = None,
    progress: bool | Progress = False,
) -> Comparison:
    """Reconstruct a source in several ways that differ in one thing each, and report on all.

    What the runs have in common (monocular depth, pairs, flow) is computed once. Interrupted, the
    same call goes on where it stopped.

    Args:
        source: As in `reconstruct`.
        out: Folder of the report and of one result a run; whole or not at all.
        vary: geometry, solver, flow, graph, method, prior; `graph=complete,logwin` takes these.
        options: Of the base run, which all others are compared with.
        truth: Ground truth, or the .npz of a rendered clip or a folder in TUM layout that has it.
        progress: As in `reconstruct`; the stage is told with the name of the run before it.

    Raises:
        UsageError: A variation that does not exist or changes nothing, a place that is taken.
        InputError: The source or the truth cannot be read, or the place not written.
        WeightsError: Some run needs weights that are not to be had; nothing was computed.
        Align3rError: What `reconstruct` raises; the runs before are kept for the next call.
    """
    options = options or Options()
    options = replace(options, model=choose_model(options))
    report, out = as_report(progress), output_place(out)
    asked = read_vary(vary, options)
    check_inputs_stay(out, source, options)
    check_place(out, overwrite=options.output.overwrite)
    known, look = _truth(truth), cache(lambda: _glance(source, options, report))
    if known is not None:
        check_same_video(look().size, look().index, known)
    runs = plan_runs(asked, options, lambda: len(look().index))
    for run in runs:
        fetch_weights(run.options)
    work = out.with_name(f".{out.name}.compare")
    with one_run_at_a_time(out):
        if put_back(out):
            check_place(out, overwrite=options.output.overwrite)
        shared = _shared(runs, work)
        seen = {run.name: shared.names(source, run.options) for run in runs}
        scenes = _reconstruct_all(source, runs, work, shared=shared, seen=seen, report=report)
        about = make_report(runs, scenes, source=source, truth=known, seen=seen)
        write_report(about, scenes, work)
        _tidy(work, keep=set(scenes))
        with replacing(out):
            work.replace(out)
    scenes = {run.name: load(out / run.name) for run in runs}
    return Comparison(scenes, describe_runs(about), about)


@dataclass(frozen=True)
class _Glance:
    """Which frames take part."""

    size: tuple[int, int]
    """(width, height) of the source."""
    index: np.ndarray
    """(N,) int64 numbers in the source."""


def _glance(source: Source, options: Options, report: Report) -> _Glance:
    """Look at the frames, and keep none of them."""
    fit = MODELS[options.model].fit
    frames = read_frames(source, options.input, fit=fit, progress=report)
    return _Glance(frames.source_size, frames.index)


def _shared(runs: Sequence[Run], work: Path) -> SharedStages:
    reads_flow = any(run.options.align.flow_weight > 0 for run in runs)
    return SharedStages(work / ".stages", flow=reads_flow)


def _reconstruct_all(
    source: Source,
    runs: Sequence[Run],
    work: Path,
    *,
    shared: SharedStages,
    seen: Mapping[str, Mapping[str, str]],
    report: Report,
) -> dict[str, Reconstruction]:
    """Every run, one after the other; what an interrupted comparison has finished is kept."""
    scenes = {}
    for k, run in enumerate(runs):
        # Pairs are large: what no later run reads goes at once.
        shared.keep_only({name for later in runs[k:] for name in seen[later.name].values()})

        def told(stage: str, done: int, total: int, name: str = run.name) -> None:
            report(f"{name}: {stage}", done, total)

        log.info("run %d of %d: %s", k + 1, len(runs), run.name)
        _give_back_memory()
        scenes[run.name] = _reconstruct_once(
            source, run.options, work / run.name, shared=shared, report=told
        )
    return scenes


def _reconstruct_once(
    source: Source, options: Options, folder: Path, *, shared: SharedStages, report: Report
) -> Reconstruction:
    """One run, not repeated if an interrupted comparison had finished it already."""
    # The run replaces its own earlier outcome.
    options = replace(options, output=replace(options.output, overwrite=True))
    key = fingerprint(source, options)
    note = folder.with_name(f"{folder.name}.key")
    if folder.is_dir() and note.is_file() and note.read_bytes() == key.encode():
        try:
            return load(folder)
        except InputError as error:
            log.warning("the finished run %s is damaged (%s): made again", folder.name, error)
            shutil.rmtree(folder)
    note.unlink(missing_ok=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    pipeline.reconstruct(source, out=folder, options=options, progress=report, shared=shared)
    note.write_text(key, encoding="utf-8")
    return load(folder)


def _give_back_memory() -> None:
    """Return what earlier runs have freed to the system, or the next one's peak has it, too."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # Only glibc can.
            ctypes.CDLL(None).malloc_trim(0)


def _tidy(folder: Path, *, keep: set[str]) -> None:
    """Remove what only an interrupted comparison needs, and runs of others before it."""
    for path in folder.iterdir():
        if path.is_dir() and path.name not in keep:
            shutil.rmtree(path)
        elif path.suffix == ".key" or path.name.startswith("."):
            path.unlink()


def _truth(given: Truth | str | Path | None) -> Truth | None:
    if not isinstance(given, str | Path):
        return given
    try:
        return read_truth(Path(given))
    # What numpy answers to files of other kinds, and to arrays of other shapes.
    except (AttributeError, EOFError, IndexError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{given} holds no ground truth: wanted is the .npz of a rendered clip, or a folder in "
            "TUM layout",
            hint="write one with examples/render_clip.py",
        ) from error
