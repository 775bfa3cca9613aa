"""Batches made ahead by other processes, step by step, for each process that trains."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import count

import torch
from torch.utils.data import DataLoader, Dataset

from align3r.errors import Align3rError, InputError, UsageError
from align3r.train.data.batches import Batches
from align3r.train.data.readers import begin, started
from align3r.train.data.values import Batch

log = logging.getLogger(__name__)

_MOST_DAMAGED = 0.01
"""Of the samples of an epoch."""


def loader(
    dataset: Batches,
    first_step: int = 0,
    *,
    last_step: int | None = None,
    rank: int = 0,
    world: int = 1,
    workers: int = 0,
    pin: bool = False,
) -> Iterator[tuple[int, list[Batch]]]:
    """The batches of one training process: of each step, every `world`-th from `rank` on.

    A step is the same, whatever the number of processes: their batches together are its batches.

    Args:
        dataset: What is drawn from.
        first_step: Where a run starts or goes on.
        last_step: Where it ends, itself not made; None: never.
        rank: Number of this process.
        world: How many processes train.
        workers: Processes that read for this one; 0: it reads itself.
        pin: Put tensors into page-locked memory, for a GPU.

    Returns:
        The number of each step and its batches. It raises InputError where more than 1 % of the
        samples of an epoch cannot be read, or one that cannot be read has nothing to take its
        place.

    Raises:
        UsageError: A step has fewer batches than there are processes; all steps are looked at
            before the first is made, if there is a last one.
    """
    keys = _Keys(dataset, (first_step, last_step), rank=rank, world=world)
    if last_step is not None:
        keys.check()
    return _made(keys, workers=workers, pin=pin)


def _made(keys: _Keys, *, workers: int, pin: bool) -> Iterator[tuple[int, list[Batch]]]:
    """What `loader` gives; nothing is read before it is asked for."""
    made = started(
        DataLoader(
            _Answers(keys.dataset),
            batch_size=None,
            sampler=keys,
            num_workers=workers,
            # A process that has threads of a library must not be forked.
            multiprocessing_context="spawn" if workers else None,
            worker_init_fn=begin,
            pin_memory=pin,
            # Its own, for what is drawn from the global one would change the training.
            generator=torch.Generator(),
        )
    )
    damage = _Damage(keys.dataset, keys.world)
    for step in keys.steps():
        batches = [_batch(next(made)) for _ in keys.of(step)]
        damage.add(step, [text for batch in batches for text in batch.left_out])
        yield step, batches


class _Keys:
    """What a process is to make, in order."""

    def __init__(
        self, dataset: Batches, ends: tuple[int, int | None], *, rank: int, world: int
    ) -> None:
        self.dataset, self.ends, self.rank, self.world = dataset, ends, rank, world

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((step, number) for step in self.steps() for number in self.of(step))

    def steps(self) -> Iterable[int]:
        """Numbers of the steps."""
        first, last = self.ends
        return count(first) if last is None else range(first, last)

    def check(self) -> None:
        """Look at all steps, of which there are not infinitely many.

        Raises:
            UsageError: One has fewer batches than there are processes.
        """
        mixture = self.dataset.mixture
        if self.world <= -(-mixture.effective_batch // mixture.views_a_batch):
            return  # So many batches there are at least: counting samples would take a while.
        for step in self.steps():
            self.of(step)

    def of(self, step: int) -> range:
        """Numbers of the batches of a step.

        Raises:
            UsageError: There are fewer than processes.
        """
        there = self.dataset.micro_batches(step)
        if there < self.world:
            raise UsageError(
                f"step {step} has {there} batches for {self.world} processes",
                hint="lower --data.views-a-batch, raise --loop.effective-batch, or take fewer "
                "processes",
            )
        return range(self.rank, there, self.world)


class _Answers(Dataset["Batch | Align3rError"]):
    """Batches, or why there is none: torch would not bring an error home with its hint."""

    def __init__(self, dataset: Batches) -> None:
        self.dataset = dataset

    def __getitem__(self, key: tuple[int, int]) -> Batch | Align3rError:
        try:
            return self.dataset[key]
        except Align3rError as error:
            return error


def _batch(answer: Batch | Align3rError) -> Batch:
    if isinstance(answer, Align3rError):
        raise answer
    return answer


class _Damage:
    """What could not be read: told once, and too much of it in one epoch is an error."""

    def __init__(self, dataset: Batches, world: int) -> None:
        self.mixture, self.world = dataset.mixture, world
        self.told: set[str] = set()
        self.epoch, self.count = 0, 0

    def add(self, step: int, left_out: Sequence[str]) -> None:
        """What was left out in a step.

        Raises:
            InputError: It is more than 1 % of what this process has of the epoch that the step
                starts in.
        """
        if not left_out:
            return
        for text in left_out:
            if text not in self.told:
                log.warning("left out: %s", text)
            self.told.add(text)
        epoch = step * self.mixture.effective_batch // self.mixture.epoch
        self.count = len(left_out) + (self.count if epoch == self.epoch else 0)
        self.epoch = epoch
        if self.count * self.world > _MOST_DAMAGED * self.mixture.epoch:
            raise InputError(
                f"{self.count} of the {self.mixture.epoch} samples of epoch {epoch} cannot be "
                f"read, the last because: {left_out[-1]}",
                hint="see the log for the others; copy or download them again",
            )
