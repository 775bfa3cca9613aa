"""Frames seen ahead: what a network says of single images is computed before the training."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from align3r.errors import Align3rError
from align3r.io.jsonable import jsonable, write_json
from align3r.io.whole import disk_errors_in_words
from align3r.progress import Report
from align3r.train.asking import Asked
from align3r.train.data.batches import Batches, Labelled
from align3r.train.data.readers import begin, started
from align3r.train.data.values import SourceView
from align3r.train.processes import Processes


@dataclass(frozen=True)
class InTurn:
    """Gives frames what several ask for: a label of one network, a prior of another."""

    hooks: tuple[Labelled, ...]

    def __call__(self, view: SourceView) -> SourceView:
        """The frame, filled in by one after the other."""
        for hook in self.hooks:
            view = hook(view)
        return view

    def missing(self, view: SourceView) -> Iterator[Labelled]:
        """Those who have nothing to say of the frame yet."""
        for hook in self.hooks:
            if isinstance(hook, Asked) and not hook.has(view):
                yield hook

    @property
    def producers(self) -> tuple[str, ...]:
        """Who computes what frames are given."""
        return tuple(hook.producer for hook in self.hooks if isinstance(hook, Asked))

    @property
    def asks_networks(self) -> bool:
        """Whether anything has to be computed at all."""
        return any(isinstance(hook, Asked) for hook in self.hooks)


def see_ahead(
    batches: Batches,
    hooks: InTurn,
    steps: int,
    processes: Processes,
    *,
    workers: int,
    report: Report,
) -> int:
    """Let networks see every frame of a training that they have not seen; processes share them.

    Args:
        batches: What the training draws from.
        hooks: Whoever wants to see frames.
        steps: How many the training has.
        processes: Those that train.
        workers: Processes that read for this one; 0: it reads itself.
        report: Called as report("looking ahead", done, total), counted in batches.

    Returns:
        How many answers this process has computed.

    Raises:
        InputError: Frames cannot be read, or the answers cannot be kept.
        Align3rError: What a network raises.
    """
    keys = [
        (step, number) for step in range(steps) for number in range(batches.micro_batches(step))
    ]
    keys = keys[processes.rank :: processes.world]
    made = 0
    for done, views in enumerate(_read(batches, keys, workers), start=1):
        for view in views:
            for hook in hooks.missing(view):
                hook(view)
                made += 1
        report("looking ahead", done, len(keys))
    processes.wait()
    return made


class Note:
    """Remembers, beside what is kept of frames, that all of a training have been seen."""

    def __init__(self, folder: Path, about: object) -> None:
        """Of one training.

        Args:
            folder: Where it is remembered.
            about: All that decides which frames are seen, and by whom.
        """
        text = json.dumps(jsonable(about), sort_keys=True)
        self._about = about
        self._path = folder / f"seen_{hashlib.sha256(text.encode()).hexdigest()[:16]}.json"

    def is_there(self) -> bool:
        """Whether they have been seen."""
        return self._path.is_file()

    def write(self) -> None:
        """They have been.

        Raises:
            InputError: The place cannot be written.
        """
        with disk_errors_in_words(self._path):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self._about, self._path)


class _Frames(Dataset["list[SourceView] | Align3rError"]):
    """The frames of a batch, as read and without anything but their image."""

    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __getitem__(self, key: tuple[int, int]) -> list[SourceView] | Align3rError:
        seen: list[SourceView] = []

        def see(view: SourceView) -> SourceView:
            seen.append(replace(view, depth=None, intrinsics=None, world_from_cam=None))
            return view

        looked = copy.copy(self._batches)
        looked.labelled = see
        try:
            looked[key]
        except Align3rError as error:  # which torch would bring home without its hint
            return error
        return seen


def _read(
    batches: Batches, keys: Sequence[tuple[int, int]], workers: int
) -> Iterator[list[SourceView]]:
    found = DataLoader(
        _Frames(batches),
        batch_size=None,
        sampler=keys,
        num_workers=workers,
        # A process that has threads of a library must not be forked.
        multiprocessing_context="spawn" if workers else None,
        worker_init_fn=begin,
        # Or torch draws from the random numbers that all share.
        generator=torch.Generator(),
    )
    for views in started(found):
        if isinstance(views, Align3rError):
            raise views
        yield views
