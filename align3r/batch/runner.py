"""Many videos: what is done is skipped, the rest is sent out, and the manifest tells of each."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from align3r.batch.book import Book, check_folder, planned
from align3r.batch.inputs import find_videos
from align3r.batch.values import Outcome, Task
from align3r.batch.worker import last_stage, reconstruct_one
from align3r.cluster import Cluster, Died, Needs, connected
from align3r.config import Options
from align3r.errors import UsageError
from align3r.io.lock import one_run_at_a_time
from align3r.io.places import output_place
from align3r.io.whole import disk_errors_in_words
from align3r.progress import Report, as_report
from align3r.types import Progress

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_TELL_EVERY_S = 30.0


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Where and how often the videos of a batch are computed."""

    address: str | None = None
    """Ray cluster: HOST:PORT, ray://HOST:PORT or auto; this machine alone when not given. Videos
    and results must have the same paths on all its machines."""
    cpus: int | None = None
    """Threads of each video; equal parts of the machine when not given."""
    gpus: float | None = None
    """GPUs of each video, also 0.5; when not given 1 if there are any and the model may use it."""
    retries: int = 2
    """How often a video is begun again whose worker died."""

    def __post_init__(self) -> None:
        """Refuse numbers that no run can make sense of.

        Raises:
            UsageError: A number is out of its range or not a number.
        """
        for name, least in (("cpus", 1), ("gpus", 0), ("retries", 0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise UsageError(f"--{name} is {value}", hint=f"it is at least {least}")


def reconstruct_many(
    videos: Iterable[str | Path],
    out: str | Path,
    *,
    options: Options | None = None,
    batch: BatchOptions | None = None,
    progress: bool | Progress = False,
) -> list[Outcome]:
    """Reconstruct many videos into folders of `out`, one Ray task each.

    What a former call with the same input and options has done is skipped, what it was interrupted
    in goes on. A video that fails does not stop the others.

    Args:
        videos: Videos, folders of images, list files, folders of videos, and patterns of these.
        out: Folder for the results, the manifest batch.json and logs/.
        options: Of every reconstruction. `output.overwrite` replaces results of other inputs or
            options; a result that is as asked for is never computed again.
        batch: Where to compute, and with how much.
        progress: True for a bar on stderr, or a function called as progress(stage, done, total).

    Returns:
        What became of each video, in order.

    Raises:
        UsageError: No video, no name of a folder, resources that no machine has, or another batch
            at work in `out`.
        InputError: `out` cannot be written, or its manifest not be read.
        MissingExtraError: Ray is not installed.
    """
    options, batch = options or Options(), batch or BatchOptions()
    sources = find_videos(videos)
    out = output_place(out).expanduser().absolute()
    check_folder(out)
    with one_run_at_a_time(out):
        with disk_errors_in_words(out):
            out.mkdir(exist_ok=True)
        book = planned(sources, out, options)
        report = as_report(progress)
        if book.tasks:
            with connected(batch.address) as cluster:
                _Work(cluster, book, batch, report).run()
        else:
            report("videos", len(sources), len(sources))
    return [book.outcomes[source] for source in sources]


def plan_many(
    videos: Iterable[str | Path], out: str | Path, *, options: Options | None = None
) -> list[Outcome]:
    """What `reconstruct_many` would do: `todo`, `done` or `failed`. Nothing is written.

    Raises:
        UsageError: There is no video, or no name of a folder.
        InputError: The manifest cannot be read.
    """
    out = output_place(out).expanduser().absolute()
    sources = find_videos(videos)
    check_folder(out)
    book = planned(sources, out, options or Options(), dry=True)
    waiting = {task.source: Outcome(task.source, task.out, "todo") for task in book.tasks}
    return [(book.outcomes | waiting)[source] for source in sources]


class _Work:
    """Tasks on a cluster until all are answered."""

    def __init__(self, cluster: Cluster, book: Book, batch: BatchOptions, report: Report) -> None:
        self._cluster, self._book, self._report = cluster, book, report
        self._retries = batch.retries
        model = book.tasks[0].options
        uses_gpu = model.device in ("auto", "cuda") and model.model != "geometric"
        gpus = batch.gpus
        if gpus is None:
            gpus = 1.0 if uses_gpu and cluster.has_gpu else 0.0
        self._needs: Needs = cluster.needs(len(book.tasks), cpus=batch.cpus, gpus=gpus)
        self._sent: dict[object, Task] = {}
        self._told = ""

    def run(self) -> None:
        """Send all, and wait for all."""
        known = len(self._book.outcomes)
        total = known + len(self._book.tasks)
        log.info("%d videos to do: %s", len(self._book.tasks), self._cluster.describe(self._needs))
        self._report("videos", known, total)
        try:
            for task in self._book.tasks:
                self._send(task)
            last = time.monotonic()
            while self._sent:
                for one in self._cluster.wait(list(self._sent), timeout_s=_LOOK_EVERY_S):
                    self._hear(one)
                    self._report("videos", len(self._book.outcomes), total)
                if time.monotonic() - last > _TELL_EVERY_S:
                    last = time.monotonic()
                    self._tell()
        finally:
            self._cluster.end(list(self._sent))

    def _send(self, task: Task) -> None:
        self._sent[self._cluster.send(reconstruct_one, task, self._needs)] = task

    def _hear(self, one: object) -> None:
        """Settle a video, or begin it again if its worker died."""
        task = self._sent.pop(one)
        answer = self._cluster.answer(one)
        if isinstance(answer, Died):
            if task.attempt <= self._retries:
                log.warning("%s: %s; it is begun again", task.out.name, answer.reason)
                self._send(replace(task, attempt=task.attempt + 1))
                return
            answer = Outcome(
                task.source,
                task.out,
                "failed",
                exit_code=answer.exit_code,
                error=f"{answer.reason}, {task.attempt} times",
                hint=f"see {task.log}; give each video more of the machine with --cpus",
                attempts=task.attempt,
            )
        self._book.settle(answer)
        if answer.state == "done":
            log.info("%s: %d frames in %.0f s", task.out.name, answer.frames, answer.seconds)
        else:
            log.error("%s: %s", task.out.name, answer.error)

    def _tell(self) -> None:
        """Say which videos are at which stage, when that is news."""
        stages = {task.out.name: last_stage(task.log) for task in self._sent.values()}
        at = ", ".join(f"{name} ({stage})" for name, stage in stages.items() if stage)
        if at and at != self._told:
            self._told = at
            log.info("at work: %s", at)
