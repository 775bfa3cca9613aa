"""A protocol on a data set: sequence by sequence, each kept as soon as it is measured."""

from __future__ import annotations

import fnmatch
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from align3r import __version__
from align3r.config import Options
from align3r.errors import InputError, UsageError
from align3r.evaluate.one_sequence import Job, file_name, reader_of
from align3r.evaluate.protocols import Protocol
from align3r.evaluate.report import REPORTS, write_report
from align3r.evaluate.summary import Summary, summarise
from align3r.evaluate.tasks.reconstructing import check_options, option, with_options
from align3r.evaluate.workers import Workers
from align3r.io.files import read_json
from align3r.io.jsonable import jsonable, write_json
from align3r.io.lock import one_run_at_a_time
from align3r.io.places import check_not_inside, output_place
from align3r.io.whole import disk_errors_in_words
from align3r.models.weights import locate
from align3r.pairwise.choice import choose_model
from align3r.pairwise.needs import needed_weights
from align3r.pairwise.registry import MODELS
from align3r.prediction import fetch_weights
from align3r.progress import Report, as_report
from align3r.types import Progress

log = logging.getLogger(__name__)

CONFIG = "config.json"
"""In the folder of an evaluation: what it is of. Nothing of another is mixed in."""
SEQUENCES = "sequences"
_OF_AN_EVALUATION = frozenset({CONFIG, SEQUENCES, *REPORTS, "ablation.json", "ablation.md"})
_OF_AN_ENTRY = frozenset({"sequence", "seconds"})
_OF_A_STATE = {
    "measured": _OF_AN_ENTRY | {"row", "frames", "about"},
    "left out": _OF_AN_ENTRY | {"error"},
    "failed": _OF_AN_ENTRY | {"error", "hint"},
}
"""What the file of a sequence has; one without it is not ours, and the sequence is measured."""
_ELSEWHERE = "choose another place with -o"


def evaluate(
    protocol: Protocol,
    root: str | Path,
    out: str | Path,
    *,
    options: Options | None = None,
    sequences: Sequence[str] = (),
    workers: Workers | None = None,
    overwrite: bool = False,
    progress: bool | Progress = False,
) -> Summary:
    """Measure every sequence of a protocol that is not measured yet, and report on all.

    Args:
        protocol: A row of `protocol_table.PROTOCOLS`.
        root: Folder of the data set.
        out: Folder of the evaluation. The same call again goes on where the last one stopped, and
            tries failed sequences again.
        options: Of the reconstruction; the protocol's own come on top.
        sequences: Names or patterns (`alley_*`) of the sequences to measure; all when empty.
        workers: Where; this process when not given.
        overwrite: Throw an evaluation with other options away.
        progress: As in `reconstruct`.

    Returns:
        The figures of every sequence and of all.

    Raises:
        UsageError: Options that choose frames, names that match nothing, or a folder that holds
            something else.
        InputError: The root holds no such data set, or the folder cannot be written.
        WeightsError: Weights of the model are not to be had.
    """
    options = resolved(protocol, options or Options())
    root, out, report = Path(root).expanduser().absolute(), output_place(out), as_report(progress)
    there = reader_of(protocol).names(root)
    names = choose_sequences(protocol, there, sequences)
    fetch_weights(options)
    config = configuration(protocol, root, options)
    with one_run_at_a_time(out):
        open_evaluation(out, config, overwrite=overwrite)
        jobs = [Job(protocol.name, root, name, options, out / SEQUENCES) for name in names]
        todo = [job for job in jobs if not _is_done(job)]
        measured = _measure_all(
            todo, workers or Workers(), done=len(jobs) - len(todo), report=report
        )
        # Of a worker that died nothing is stored.
        entries = [_stored(job) or measured[job.sequence] for job in jobs]
        wanted = wanted_sequences(protocol, there)
        summary = summarise(protocol, entries, config, wanted=wanted)
        write_report(summary, out)
    return summary


def choose_sequences(protocol: Protocol, there: Sequence[str], asked: Sequence[str]) -> list[str]:
    """The sequences to measure, of those that are there.

    Raises:
        UsageError: Something asked for matches none.
        InputError: None of those that the protocol is about is there.
    """
    wanted = wanted_sequences(protocol, there)
    names = [name for name in there if name in set(wanted)]
    if not names:
        raise InputError(
            f"none of the sequences of {protocol.name} is there",
            hint=f"there are {_some(there)}; wanted are {_some(wanted) or protocol.among}",
        )
    if not asked:
        return names
    for pattern in asked:
        if not any(_matches(name, pattern) for name in names):
            raise UsageError(
                f"no sequence of {protocol.name} matches {pattern!r}",
                hint=f"there are {_some(names)}",
            )
    return [name for name in names if any(_matches(name, p) for p in asked)]


def _matches(name: str, pattern: str) -> bool:
    """A name with brackets is its own pattern."""
    return name == pattern or fnmatch.fnmatch(name, pattern)


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def wanted_sequences(protocol: Protocol, there: Sequence[str]) -> list[str]:
    """The sequences that a protocol is about: those of its list, or of those that are there."""
    every = reader_of(protocol).lists[protocol.sequences] if protocol.sequences else there
    among = [
        name
        for name in fnmatch.filter(every, protocol.among)
        if not any(fnmatch.fnmatch(name, pattern) for pattern in protocol.without)
    ]
    return among[:: protocol.every]


def resolved(protocol: Protocol, options: Options) -> Options:
    """The options of every sequence: those of the protocol on top, the model chosen, and, unless
    one is named, the precision that its published figures are of.

    Raises:
        UsageError: They choose frames, give cameras away, or name a model that needs a camera that
            moves for single images.
    """
    check_options(options)
    for name, value in protocol.options.items():
        given, default = option(options, name), option(Options(), name)
        if given not in (value, default):
            log.warning("%s takes %s = %s, not %s", protocol.name, name, value, given)
    options = with_options(options, protocol.options)
    options = replace(options, model=choose_model(options))
    if options.network.precision == "auto":
        published_in = MODELS[options.model].published_in
        options = with_options(options, {"network.precision": published_in})
    if protocol.task == "mono" and MODELS[options.model].finds_flow:
        raise UsageError(
            f"--model {options.model} sees no depth in a single image",
            hint="name a learned model: --model dust3r, with --weights if you have your own",
        )
    return options


def configuration(protocol: Protocol, root: Path, options: Options) -> dict[str, Any]:
    """What an evaluation is of, as JSON holds it."""
    return dict(
        jsonable(
            {
                "protocol": protocol.name,
                "rules": asdict(protocol),
                "root": root,
                "align3r": __version__,
                # The folder of a download is named after its commit.
                "weights": {spec: locate(spec) for spec in needed_weights(options)},
                # Whether an older evaluation is thrown away says nothing about this one.
                "options": asdict(
                    replace(options, output=replace(options.output, overwrite=False))
                ),
            }
        )
    )


def open_evaluation(out: Path, config: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make the folder ready, and keep what was measured under the same configuration."""
    path = out / CONFIG
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} exists and is not a folder", hint=_ELSEWHERE)
    if out.is_dir() and any(out.iterdir()):
        before = _configuration_in(path)
        if before is None:
            raise UsageError(f"{out} holds something else than an evaluation", hint=_ELSEWHERE)
        if before == json.loads(json.dumps(config)):
            return
        if not overwrite:
            raise UsageError(
                f"{out} holds an evaluation of another protocol, data, version or options",
                hint="add --overwrite, or choose another place with -o",
            )
        check_not_inside(out)
        _check_only_ours(out)
        with disk_errors_in_words(out):
            shutil.rmtree(out)
    with disk_errors_in_words(out):
        (out / SEQUENCES).mkdir(parents=True, exist_ok=True)
        write_json(config, path)


def _configuration_in(path: Path) -> Mapping[str, Any] | None:
    """Of an evaluation; None where there is none: other programs have a config.json, too."""
    try:
        found = read_json(path) if path.is_file() else None
    except (InputError, ValueError):
        return None
    return found if isinstance(found, Mapping) and {"protocol", "align3r"} <= set(found) else None


def _check_only_ours(out: Path) -> None:
    others = sorted({path.name for path in out.iterdir()} - _OF_AN_EVALUATION)
    if others:
        count = "1 other thing" if len(others) == 1 else f"{len(others)} other things"
        raise UsageError(
            f"{out} holds {count} ({others[0]}) and will not be replaced",
            hint="move what you want to keep out of it, or choose another place with -o",
        )


def _is_done(job: Job) -> bool:
    return _stored(job).get("state") in ("measured", "left out")


def _stored(job: Job) -> Mapping[str, Any]:
    found = stored(_file(job))
    return found if _OF_A_STATE.get(str(found.get("state")), {"?"}) <= set(found) else {}


def _file(job: Job) -> Path:
    return job.folder / f"{file_name(job.sequence)}.json"


def stored(path: Path) -> Mapping[str, Any]:
    """What a finished sequence has left; nothing if it is not finished."""
    try:
        found = read_json(path) if path.is_file() else {}
    except (InputError, ValueError) as error:
        log.warning("%s cannot be read (%s): the sequence is measured again", path, error)
        return {}
    return found if isinstance(found, Mapping) else {}


def _measure_all(
    jobs: Sequence[Job], workers: Workers, *, done: int, report: Report
) -> dict[str, Mapping[str, Any]]:
    """The entries of the jobs by the names of their sequences."""
    found: dict[str, Mapping[str, Any]] = {}
    total = done + len(jobs)
    report("sequences", done, total)
    for job in jobs:
        # What an earlier run says of a sequence that failed then is not what happens to it now.
        _file(job).unlink(missing_ok=True)
    for entry in workers.measure(jobs, report):
        found[entry["sequence"]] = entry
        done += 1
        report("sequences", done, total)
        for words in entry.get("told", ()):
            log.warning("%s", words)
        if entry["state"] == "failed":
            hint = f"\nhint: {entry['hint']}" if entry["hint"] else ""
            log.error("%s: %s%s", entry["sequence"], entry["error"], hint)
        else:
            log.info("%s: %s, %.1f s", entry["sequence"], entry["state"], entry["seconds"])
    return found
