"""Processes that read for one that trains, and let signals pass that are meant for it alone."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from types import FrameType
from typing import TypeVar

import cv2
from torch.utils.data import DataLoader

Made = TypeVar("Made")

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
"""What a terminal and a scheduler send to the whole group of processes."""


def started(found: DataLoader[Made]) -> Iterator[Made]:
    """What a loader makes; its readers, if any, begin here, and have `begin` to begin with."""
    if not found.num_workers:
        return iter(found)
    with _held_back():
        return iter(found)


def begin(_number: int) -> None:
    """What a reader does first: Ctrl-C, and one terminate signal, are for the process that trains.

    That ends its step, and then its readers. A second terminate signal is obeyed: it is how torch
    and Python end a reader that does not end by itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _let_pass)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    cv2.setNumThreads(0)


def _let_pass(number: int, _frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)


@contextmanager
def _held_back() -> Iterator[None]:
    """Signals wait meanwhile; those of processes that are started wait until `begin`."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # Python starts it beside the first such process, and would let signals through again then.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
