"""Something done now and then while something else is at work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def now_and_then(work: Callable[[], object], *, every_s: float) -> Iterator[None]:
    """Call `work` from a thread of its own, so many seconds after the last time, in the block.

    A call that is under way when the block ends is waited for; there is none after it.
    """
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(every_s):
            work()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
