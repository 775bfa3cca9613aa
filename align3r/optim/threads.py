"""How many threads the aligner uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import torch

Result = TypeVar("Result")


_workers: ContextVar[int | None] = ContextVar("_workers", default=None)


@contextmanager
def torch_threads(count: int) -> Iterator[int]:
    """So many threads inside each torch operation; gives the number there were.

    The aligner's arrays, one view at a time, are so short that waking a second thread costs
    more than it saves, and on a busy machine the waiting threads cost many times that.
    `for_each_frame` uses the threads there were before the outermost of these blocks.
    """
    before = torch.get_num_threads()
    outermost = _workers.get()
    token = _workers.set(before if outermost is None else outermost)
    torch.set_num_threads(count)
    try:
        yield before if outermost is None else outermost
    finally:
        torch.set_num_threads(before)
        _workers.reset(token)


def for_each_frame(work: Callable[[int], Result], n_frames: int) -> list[Result]:
    """Results of `work(frame)` in order, as many frames at a time as torch has threads."""
    with torch_threads(1) as workers:
        if workers == 1:
            return [work(frame) for frame in range(n_frames)]
        # Each worker is told itself: until its first parallel operation it has as many threads as
        # there are cores, and matrix products that share their sums do not give the same bits.
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, range(n_frames)))
