"""Ctrl-C and the terminate signal of a cluster, heard but not obeyed before a good moment."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stop:
    """Whether somebody asked for the end."""

    def __init__(self) -> None:
        self.asked = False


@contextmanager
def asked_to_stop(*, insist: bool) -> Iterator[Stop]:
    """While this lasts, a signal to end is a wish.

    Args:
        insist: A second Ctrl-C ends at once. Launchers of many processes pass on the signal that
            the terminal has sent already, so there it may come twice by itself.
    """
    stop = Stop()

    def hear(number: int, frame: FrameType | None) -> None:
        if stop.asked and insist and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.asked = True

    if threading.current_thread() is not threading.main_thread():
        yield stop  # Signals are the main thread's; a caller with threads has ways of its own.
        return
    before = {number: signal.signal(number, hear) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
