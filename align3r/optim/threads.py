"""How many threads the solve uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

# Points below which a solve's arrays, one view at a time, fit the cache of one core.
SMALL = 20_000_000


@contextmanager
def one_thread(points: Tensor) -> Iterator[None]:
    """One thread for a small problem on the CPU; the setting is put back afterwards.

    Its arrays are so short that waking a second thread costs more than it saves, and on a busy
    machine the waiting threads cost many times that.
    """
    threads = torch.get_num_threads()
    small = points.device.type == "cpu" and points.numel() < SMALL
    torch.set_num_threads(1 if small else threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
