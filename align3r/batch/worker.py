"""What a worker does: one video, everything it tells into a log, every error into words."""

from __future__ import annotations

import logging
import os
import platform
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from align3r import __version__
from align3r.batch.results import done, is_finished
from align3r.batch.values import Outcome, Task
from align3r.errors import UsageError, first_line, in_words
from align3r.io.leftovers import remove_leftovers
from align3r.parallel import limit_threads

log = logging.getLogger(__name__)

BEGINS = "begins"
"""In the log, once for every worker that begins with the video."""
_USED_SHARE = 0.9
"""Of its share of the memory, what a run plans with."""


def reconstruct_one(task: Task, *, threads: int, share: float) -> Outcome:
    """Reconstruct one video, or find out that it is done.

    Args:
        task: What to do. An interrupted run of it is gone on with.
        threads: To compute in.
        share: Part of the machine that is this run's; its plan keeps within as much of the memory,
            unless the options have a budget.

    Returns:
        What became of it; whatever an ordinary run would raise is the outcome `failed`.
    """
    with _logged(task):
        try:
            log.info(
                "attempt %d %s on %s, process %d, %d threads",
                *(task.attempt, BEGINS, platform.node(), os.getpid(), threads),
            )
            if task.version != __version__:
                raise UsageError(
                    f"{platform.node()} has align3r {__version__}, not {task.version}",
                    hint="install the same version on all machines of the cluster",
                )
            if is_finished(task.out, task.replaces):
                remove_leftovers(task.out)
            else:
                _reconstruct(task, threads=threads, share=share)
            log.info("done")
            return done(task)
        except Exception as error:
            log.info("%s", traceback.format_exc().rstrip())
            return _failed(task, error)


def _reconstruct(task: Task, *, threads: int, share: float) -> None:
    # Before anything is imported that looks at it.
    os.environ["OMP_NUM_THREADS"] = str(threads)
    from align3r.device import machine_memory_bytes
    from align3r.pairing.memory import GB
    from align3r.pipeline import reconstruct

    limit_threads(threads)
    options = task.options
    if options.memory_budget is None and share < 1:
        # Of all there is, not of what is free now: the next attempt must find its plan again.
        budget = _USED_SHARE * share * machine_memory_bytes() / GB
        options = replace(options, memory_budget=round(budget, 3))
    reconstruct(task.source, out=task.out, options=options, progress=_Stages())


class _Stages:
    """Tells the log when a stage begins."""

    def __init__(self) -> None:
        self._stage = ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            self._stage = stage
            log.info("stage: %s", stage)


def _failed(task: Task, error: Exception) -> Outcome:
    known = in_words(error)
    if known is None:
        words = f"{type(error).__name__}: {first_line(error)}"
        known_code, hint = 1, f"the traceback is in {task.log}"
    else:
        words, known_code, hint = str(known), known.exit_code, known.hint
    return Outcome(
        task.source,
        task.out,
        "failed",
        exit_code=known_code,
        error=words,
        hint=hint,
        attempts=task.attempt,
    )


def last_stage(path: Path) -> str:
    """The stage that a log tells of last; empty if there is none yet."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    stages = (line.partition(" stage: ")[2] for line in reversed(lines) if BEGINS not in line)
    return next((stage for stage in stages if stage), "")


@contextmanager
def _logged(task: Task) -> Iterator[None]:
    """Everything that align3r tells in this process goes to the log of the video."""
    library = logging.getLogger("align3r")
    handler: logging.Handler = logging.NullHandler()
    try:
        task.log.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.FileHandler(task.log, encoding="utf-8")
    except OSError as error:  # The result matters more than what is told about it.
        log.warning("no log of %s: %s", task.source, error)
    shape = logging.Formatter("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z")
    shape.converter = time.localtime
    handler.setFormatter(shape)
    before = library.level
    library.addHandler(handler)
    library.setLevel(logging.INFO)
    try:
        yield
    finally:
        library.setLevel(before)
        library.removeHandler(handler)
        handler.close()
