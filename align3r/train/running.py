"""A training from its options to its result, and what is computed before it starts."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import torch

from align3r.errors import UsageError
from align3r.progress import as_report
from align3r.train import loop
from align3r.train.data.loader import loader
from align3r.train.data.values import Batch
from align3r.train.filling import Options
from align3r.train.ingredients import (
    Ingredients,
    gather,
    labels_folder,
    make_task,
    priors_folder,
)
from align3r.train.options import Fin3rOptions
from align3r.train.processes import Processes
from align3r.train.run_folder import open_folder
from align3r.train.seeing import Note, see_ahead
from align3r.train.task import Feed
from align3r.types import Progress


def train(options: Options, out: Path, *, progress: bool | Progress = False) -> Path | None:
    """Train, or go on with a training, until its end.

    Args:
        options: Without gaps, see `filling.filled`.
        out: Folder of the training.
        progress: How to say where it is.

    Returns:
        The folder of the result; None in processes beside the first, which have nothing to tell.

    Raises:
        Align3rError: See `ingredients`, `seeing.see_ahead` and `loop.train`.
        loop.Interrupted: After a checkpoint was saved.
    """
    processes = Processes(options.loop.device)
    found = _gathered(options, out, processes)
    task = make_task(found)
    # Processes that only read cannot ask a network on a GPU.
    if options.loop.workers and processes.device.type != "cpu" and found.hooks.asks_networks:
        if processes.is_first:
            # Before hours go by for a folder that nothing can be trained in.
            open_folder(out, options, resume=True)
        _look_ahead(found, out, processes, progress=progress, again=False)
    feed = Feed(
        found.batches.mixture.epoch, partial(_steps, found, pin=processes.device.type == "cuda")
    )
    result = loop.train(task, feed, options.loop, out, run=options, resume=True, progress=progress)
    return result if processes.is_first else None


def prepare(options: Options, out: Path, *, progress: bool | Progress = False) -> int | None:
    """Compute labels and monocular depth of all frames of a training, but for those that have it.

    Returns:
        How many answers of networks were computed; None in processes beside the first.

    Raises:
        UsageError: Nothing is to be computed.
        Align3rError: See `ingredients` and `seeing.see_ahead`.
    """
    processes = Processes(options.loop.device)
    found = _gathered(options, out, processes)
    if not found.hooks.asks_networks:
        raise UsageError(
            "there is nothing to prepare: no network looks at the frames before the training",
            hint="leave out --prepare",
        )
    made = _look_ahead(found, out, processes, progress=progress, again=True)
    return made if processes.is_first else None


def _gathered(options: Options, out: Path, processes: Processes) -> Ingredients:
    """What `gather` gives, to the first process before the others: it may render sequences."""
    if not processes.is_first:
        processes.wait()
    found = gather(options, out, device=processes.device)
    if processes.is_first:
        processes.wait()
    return found


def _look_ahead(
    found: Ingredients,
    out: Path,
    processes: Processes,
    *,
    progress: bool | Progress,
    again: bool,
) -> int:
    """See all frames; unless it is noted that they have been, and they shall not be `again`."""
    note = _note(found, out)
    if note.is_there() and not again:
        return 0
    made = see_ahead(
        found.batches,
        found.hooks,
        found.steps,
        processes,
        workers=found.options.loop.workers,
        report=as_report(progress if processes.is_first else False),
    )
    if processes.is_first:
        note.write()
    return int(processes.sum(torch.tensor(made)))


def _note(found: Ingredients, out: Path) -> Note:
    options = found.options
    about = {"data": options.data, "producers": found.hooks.producers, "steps": found.steps}
    about |= {"seed": options.loop.seed, "effective_batch": options.loop.effective_batch}
    if isinstance(options, Fin3rOptions):
        return Note(labels_folder(options, out), about)
    return Note(priors_folder(options, out), about)


def _steps(
    found: Ingredients, first: int, rank: int, world: int, *, pin: bool
) -> Iterator[tuple[int, list[Batch]]]:
    return loader(
        found.batches,
        first,
        last_step=found.steps,
        rank=rank,
        world=world,
        workers=found.options.loop.workers,
        pin=pin,
    )
