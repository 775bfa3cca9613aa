"""Independent pieces of work on all cores, in order."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_most_threads: int | None = None


def own_cpus() -> int:
    """Cores that this process may use, which may be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def limit_threads(count: int) -> None:
    """From now on this process computes in at most so many threads, whatever the library.

    For processes that share a machine: two that both use all cores wait for each other.
    """
    global _most_threads
    import cv2
    import torch
    from threadpoolctl import threadpool_limits

    _most_threads = count
    cv2.setNumThreads(count)
    torch.set_num_threads(count)
    threadpool_limits(count)


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the order of the items; NumPy and OpenCV compute side by side in threads.

    The order of the results, and so every number, does not depend on the threads. Only a few
    items are in the air at a time, so results that are not taken do not pile up.
    """
    workers = min(os.cpu_count() or 1, _most_threads or sys.maxsize)
    with ThreadPoolExecutor(workers) as pool:
        waiting = []
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
