"""Independent pieces of work on all cores, in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the order of the items; NumPy and OpenCV compute side by side in threads.

    The order of the results, and so every number, does not depend on the threads. Only a few
    items are in the air at a time, so results that are not taken do not pile up.
    """
    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(workers) as pool:
        waiting = []
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * workers:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
