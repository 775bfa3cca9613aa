"""The whole story: video in, reconstruction out; one call a stage."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from align3r.config import Options
from align3r.errors import UsageError
from align3r.given import Given, read_given
from align3r.io.leftovers import remove_leftovers
from align3r.io.lock import one_run_at_a_time
from align3r.io.places import check_inputs_stay, output_place
from align3r.io.sources import Source, absolute_source
from align3r.io.whole import check_output
from align3r.outcome import as_reconstruction, check_scale
from align3r.pairing.memory import GB, MemoryPlan, Room
from align3r.pairing.ways_out import require_room
from align3r.pairwise.choice import check_options, choose_model, unread_options
from align3r.pairwise.needs import looks_at_depth, missing_weights
from align3r.pairwise.registry import MODELS
from align3r.planning import as_planned, open_storages, plan_run, room_of
from align3r.prediction import fetch_weights, see_depth, see_pairs
from align3r.progress import Report, as_report
from align3r.reconstruction import Reconstruction
from align3r.shared_stages import Caches, SharedStages, open_caches
from align3r.solving import solve
from align3r.stage_cache import cached_mono, cached_predictions
from align3r.stopwatch import Stopwatch
from align3r.types import PairPredictions, Progress, Solution

log = logging.getLogger(__name__)


def reconstruct(
    source: Source,
    *,
    out: str | Path | None = None,
    options: Options | None = None,
    progress: bool | Progress = False,
    shared: SharedStages | None = None,
    **overrides: Any,
) -> Reconstruction:
    """Cameras, depth, moving masks and points of a video.

    Args:
        source: A video, a folder of images, a glob pattern, a list file or a list of images.
        out: Folder to save the result in, whole or not at all. Interrupted, the same call goes
            on from its last finished stage.
        options: All options; the defaults need no weights and no download.
        progress: True for bars on stderr, or a function called as progress(stage, done, total).
        shared: Where other runs of the same source have left, and will find, what this one sees.
        **overrides: Fields of `Options` by name, e.g. `model="geometric"`.

    Returns:
        N frames in, N cameras, depth, confidence and motion maps out, at the source size.

    Raises:
        UsageError: Options that contradict each other, a result that is there already, or another
            run that is writing it.
        InputError: The input cannot be read, or the output not written.
        NoRoomError: The plan does not fit the memory, or the disk.
        WeightsError: Weights of a model that was asked for by name are not to be had.
        SolveError: The video says nothing, or the solution is not finite.
    """
    options = _resolved(options, overrides)
    report = as_report(progress)
    if out is None:
        return _reconstruct(source, None, options, report, shared=shared)
    out = output_place(out)
    check_inputs_stay(out, source, options)
    try:
        check_output(out, options.output.overwrite)
    except UsageError:
        remove_leftovers(out)  # Of a run that was killed when its result was just whole.
        raise
    with one_run_at_a_time(out):
        return _reconstruct(source, out, options, report, shared=shared)


def _reconstruct(
    source: Source,
    out: Path | None,
    options: Options,
    report: Report,
    *,
    shared: SharedStages | None,
) -> Reconstruction:
    model, watch = MODELS[options.model], Stopwatch()
    with watch.stage("read"):
        given = read_given(source, options, fit=model.fit, report=report)
    pairs = None if shared is None else shared.pairs_folder(source, options)
    room = room_of(options, out, shared_pairs=pairs)
    memory = plan_run(given, options, room, staged=out is not None)
    log.info("%s", memory.describe())
    require_room(memory, room)
    caches = open_caches(source, out, options, shared=shared)
    for option in unread_options(options):
        log.warning("%s has no say: nothing in this run looks at it", option)
    fetch_weights(options)
    predictions, solution = _see_and_solve(
        given,
        as_planned(options, memory),
        memory,
        caches,
        shared=shared,
        watch=watch,
        report=report,
    )
    scene = as_reconstruction(solution, given, predictions, options)
    for warning in scene.info["warnings"]:
        log.warning("%s", warning)
    how = {"source_path": absolute_source(source), "plan": memory.describe(), "timings": watch.rows}
    scene = replace(scene, info=scene.info | how)
    if out is not None:
        _save(scene, out, options, watch=watch, report=report)
    if caches.own is not None:
        caches.own.clear()
    return scene


def _see_and_solve(
    given: Given,
    options: Options,
    memory: MemoryPlan,
    caches: Caches,
    *,
    shared: SharedStages | None,
    watch: Stopwatch,
    report: Report,
) -> tuple[PairPredictions, Solution]:
    """What is seen, with the final moving masks, and the scene it makes."""
    mono = None
    if looks_at_depth(options):
        with watch.stage("monocular depth"):
            mono = cached_mono(caches.mono, lambda: see_depth(given, options, report))
    seen_as = options if shared is None else shared.pairs_options(options)
    with open_storages(memory, caches.pairs, caches.own) as storages:
        with watch.stage("predict pairs"):
            predictions = cached_predictions(
                caches.pairs,
                lambda journal: see_pairs(
                    given, mono, seen_as, report, journal=journal, storage=storages.pairs
                ),
            )
        with watch.stage("align"):
            solution, moving = solve(
                predictions,
                given,
                options,
                mono=mono,
                report=report,
                cache=caches.own,
                storage=storages.solution,
            )
    return replace(predictions, moving=moving), solution


@dataclass(frozen=True)
class Plan:
    """What a reconstruction would do and need."""

    memory: MemoryPlan
    room: Room
    missing_weights: tuple[str, ...]
    """What would be downloaded first."""

    def describe(self) -> str:
        """One line for people, and another if something is to be downloaded."""
        words = f"{self.memory.describe()}; {self.room.memory / GB:.1f} GB are free"
        if self.missing_weights:
            words += f"\nto be downloaded first: {', '.join(self.missing_weights)}"
        return words


def plan(source: Source, options: Options, *, out: str | Path | None = None) -> Plan:
    """Read the input and plan, without computing anything but the pairs to look at.

    Raises:
        UsageError: `out` can be no folder for a result.
        InputError: The input cannot be read.
        NoRoomError: The plan does not fit the memory, or the disk.
        WeightsError: There are no such weights.
    """
    options = _resolved(options, {})
    out = None if out is None else output_place(out)
    given = read_given(source, options, fit=MODELS[options.model].fit, report=as_report(False))
    room = room_of(options, out)
    memory = plan_run(given, options, room, staged=out is not None)
    require_room(memory, room)
    return Plan(memory, room, tuple(missing_weights(options)))


def _resolved(options: Options | None, overrides: dict[str, Any]) -> Options:
    """The options with their overrides, and with the model chosen."""
    names = [field.name for field in fields(Options)]
    unknown = set(overrides) - set(names)
    if unknown:
        raise UsageError(f"unknown options {sorted(unknown)}", hint=f"there are {sorted(names)}")
    options = replace(options or Options(), **overrides)
    options = replace(options, model=choose_model(options))
    check_options(options)
    check_scale(options)
    return options


def _save(
    scene: Reconstruction, out: Path, options: Options, *, watch: Stopwatch, report: Report
) -> None:
    report("save", 0, 1)
    with watch.stage("save"):
        scene.save(out, options=options.output)
    report("save", 1, 1)
