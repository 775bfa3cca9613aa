"""Where sequences are measured: in this process, in several, or on a Ray cluster."""

from __future__ import annotations

import logging
import multiprocessing
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from align3r.errors import UsageError
from align3r.evaluate.one_sequence import Job, measure_here, measure_one
from align3r.parallel import own_cpus
from align3r.progress import Report

log = logging.getLogger(__name__)

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
        if self.jobs > 1 and self.address is not None:
            raise UsageError(
                f"--jobs {self.jobs} is about this machine, and --address names a cluster",
                hint="leave one of them out: a cluster takes as many as it has room for",
            )

    def measure(self, jobs: Sequence[Job], report: Report) -> Iterator[Mapping[str, Any]]:
        """What `measure_here` returns of every job, in the order in which they end.

        A worker that dies takes the sequences along that are being measured beside it: those are
        `failed`, as `died` says it.
        """
        if not jobs:
            return iter(())
        if self.address is not None:
            return _on_cluster(jobs, self.address)
        if self.jobs > 1:
            return _in_processes(jobs, min(self.jobs, len(jobs)))
        return (_told(job, report) for job in jobs)


def died(job: Job, reason: str = "its worker died") -> Mapping[str, Any]:
    """The entry of a sequence that nothing is written about."""
    return {
        "sequence": job.sequence,
        "state": "failed",
        "error": reason,
        "hint": "run the same command again",
        "seconds": 0.0,
    }


def _told(job: Job, report: Report) -> Mapping[str, Any]:
    def of_sequence(stage: str, done: int, total: int) -> None:
        report(f"{job.sequence}: {stage}", done, total)

    return measure_here(job, of_sequence)


def _in_processes(jobs: Sequence[Job], count: int) -> Iterator[Mapping[str, Any]]:
    """As they are answered. A process that dies takes its pool along; the next pool goes on."""
    left = deque(jobs)
    while left:
        yield from _in_a_pool(left, count)


def _in_a_pool(left: deque[Job], count: int) -> Iterator[Mapping[str, Any]]:
    """Until nothing is left or a process dies; only what is being measured is sent."""
    threads, share = max(1, own_cpus() // count), 1 / count
    context = multiprocessing.get_context("spawn")
    sent: dict[Future[Mapping[str, Any]], Job] = {}
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        try:
            while left or sent:
                while left and len(sent) < count:
                    sent[pool.submit(measure_one, left[0], threads=threads, share=share)] = left[0]
                    left.popleft()
                for one in wait(sent, return_when=FIRST_COMPLETED).done:
                    answer = one.result()
                    del sent[one]
                    yield answer
        except BrokenProcessPool:
            for one, job in sent.items():
                yield died(job) if one.exception() else one.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _on_cluster(jobs: Sequence[Job], address: str) -> Iterator[Mapping[str, Any]]:
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
                    yield died(job, answer.reason) if isinstance(answer, Died) else answer
        finally:
            cluster.end(list(sent))
