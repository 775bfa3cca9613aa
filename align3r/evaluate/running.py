"""A protocol on a data set: sequence by sequence, each kept as soon as it is measured."""

from __future__ import annotations

import fnmatch
import json
import logging
import multiprocessing
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from align3r import __version__
from align3r.config import Options
from align3r.errors import InputError, UsageError
from align3r.evaluate.one_sequence import Job, file_name, measure_here, measure_one, reader_of
from align3r.evaluate.protocols import Protocol
from align3r.evaluate.report import write_report
from align3r.evaluate.summary import Summary, summarise
from align3r.evaluate.tasks.reconstructing import check_options, with_options
from align3r.io.files import read_json
from align3r.io.jsonable import jsonable, write_json
from align3r.io.lock import one_run_at_a_time
from align3r.io.places import check_not_inside, output_place
from align3r.io.whole import disk_errors_in_words
from align3r.models.weights import locate
from align3r.pairwise.choice import choose_model
from align3r.pairwise.needs import needed_weights
from align3r.parallel import own_cpus
from align3r.prediction import fetch_weights
from align3r.progress import Report, as_report
from align3r.types import Progress

log = logging.getLogger(__name__)

CONFIG = "config.json"
"""In the folder of an evaluation: what it is of. Nothing of another is mixed in."""
SEQUENCES = "sequences"
_LOOK_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Where sequences are measured."""

    jobs: int = 1
    """So many sequences at a time on this machine, each with its part of threads and memory."""
    address: str | None = None
    """Ray cluster instead: HOST:PORT, ray://HOST:PORT or auto. Data and results are on a disk that
    all of its machines share."""

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise UsageError(f"--jobs is {self.jobs}", hint="it is at least 1")


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
        _measure_all(todo, workers or Workers(), done=len(jobs) - len(todo), report=report)
        wanted = wanted_sequences(protocol, there)
        summary = summarise(protocol, [_entry(job) for job in jobs], config, wanted=wanted)
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
        if not fnmatch.filter(names, pattern):
            raise UsageError(
                f"no sequence of {protocol.name} matches {pattern!r}",
                hint=f"there are {_some(names)}",
            )
    return [name for name in names if any(fnmatch.fnmatch(name, p) for p in asked)]


def _some(names: Sequence[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def wanted_sequences(protocol: Protocol, there: Sequence[str]) -> list[str]:
    """The sequences that a protocol is about: those of its list, or of those that are there."""
    every = reader_of(protocol).lists[protocol.sequences] if protocol.sequences else there
    return fnmatch.filter(every, protocol.among)[:: protocol.every]


def resolved(protocol: Protocol, options: Options) -> Options:
    """The options of every sequence: those of the protocol on top, and the model chosen.

    Raises:
        UsageError: They choose frames or give cameras away.
    """
    check_options(options)
    options = with_options(options, protocol.options)
    return replace(options, model=choose_model(options))


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
                "options": asdict(options),
            }
        )
    )


def open_evaluation(out: Path, config: Mapping[str, Any], *, overwrite: bool) -> None:
    """Make the folder ready, and keep what was measured under the same configuration."""
    path = out / CONFIG
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} exists and is not a folder", hint="choose another place with -o")
    if out.is_dir() and any(out.iterdir()):
        if not path.is_file():
            raise UsageError(
                f"{out} holds something else than an evaluation",
                hint="choose another place with -o",
            )
        if _readconfiguration(path) == json.loads(json.dumps(config)):
            return
        if not overwrite:
            raise UsageError(
                f"{out} holds an evaluation of another protocol, data, version or options",
                hint="add --overwrite, or choose another place with -o",
            )
        check_not_inside(out)
        shutil.rmtree(out)
    with disk_errors_in_words(out):
        (out / SEQUENCES).mkdir(parents=True, exist_ok=True)
        write_json(config, path)


def _readconfiguration(path: Path) -> Any:
    try:
        return read_json(path)
    except ValueError:
        return None


def _is_done(job: Job) -> bool:
    return _stored(job).get("state") in ("measured", "left out")


def _stored(job: Job) -> Mapping[str, Any]:
    return stored(job.folder / f"{file_name(job.sequence)}.json")


def stored(path: Path) -> Mapping[str, Any]:
    """What a finished sequence has left; nothing if it is not finished."""
    try:
        found = read_json(path) if path.is_file() else {}
    except (InputError, ValueError) as error:
        log.warning("%s cannot be read (%s): the sequence is measured again", path, error)
        return {}
    return found if isinstance(found, Mapping) else {}


def _entry(job: Job) -> Mapping[str, Any]:
    return _stored(job) or {
        "sequence": job.sequence,
        "state": "failed",
        "error": "its worker died",
        "hint": "run the same command again",
    }


def _measure_all(jobs: Sequence[Job], workers: Workers, *, done: int, report: Report) -> None:
    total = done + len(jobs)
    report("sequences", done, total)
    if workers.address is not None:
        found = _on_cluster(jobs, workers.address)
    elif workers.jobs > 1:
        found = _in_processes(jobs, min(workers.jobs, len(jobs)))
    else:
        found = (_told(job, report) for job in jobs)
    for entry in found:
        done += 1
        report("sequences", done, total)
        if entry["state"] == "failed":
            log.error("%s: %s", entry["sequence"], entry["error"])
        else:
            log.info("%s: %s, %.1f s", entry["sequence"], entry["state"], entry["seconds"])


def _told(job: Job, report: Report) -> Mapping[str, Any]:
    def of_sequence(stage: str, done: int, total: int) -> None:
        report(f"{job.sequence}: {stage}", done, total)

    return measure_here(job, of_sequence)


def _in_processes(jobs: Sequence[Job], count: int) -> Iterator[Mapping[str, Any]]:
    """As they are answered. A process that dies takes its pool along: the others are kept."""
    if not jobs:
        return
    threads, share = max(1, own_cpus() // count), 1 / count
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        sent = {pool.submit(measure_one, job, threads=threads, share=share): job for job in jobs}
        try:
            for one in as_completed(sent):
                yield one.result()
        except BrokenProcessPool:
            for job in sent.values():
                if not _is_done(job):
                    yield {**_entry(job), "seconds": 0.0}
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _on_cluster(jobs: Sequence[Job], address: str) -> Iterator[Mapping[str, Any]]:
    if not jobs:
        return
    from align3r.cluster import Died, connected

    uses_gpu = jobs[0].options.device in ("auto", "cuda") and jobs[0].options.model != "geometric"
    with connected(address) as cluster:
        gpus = 1.0 if uses_gpu and cluster.has_gpu else 0.0
        needs = cluster.needs(len(jobs), cpus=None, gpus=gpus)
        log.info("%s", cluster.describe(needs))
        sent = {cluster.send(measure_one, job, needs): job for job in jobs}
        try:
            while sent:
                for one in cluster.wait(list(sent), timeout_s=_LOOK_EVERY_S):
                    job, answer = sent.pop(one), cluster.answer(one)
                    if isinstance(answer, Died):
                        answer = {**_entry(job), "error": answer.reason, "seconds": 0.0}
                    yield answer
        finally:
            cluster.end(list(sent))
