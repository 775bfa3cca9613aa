"""Seconds and peak memory of each stage."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FORGET = Path("/proc/self/clear_refs")
_PEAK = "5"
_STATUS = Path("/proc/self/status")


class Stopwatch:
    """Collects a row for each stage that ran."""

    def __init__(self) -> None:
        self.rows: list[dict[str, str | float]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the block; the peak is the largest memory of the process while it ran.

        Where the system cannot forget an earlier peak (only Linux can), it counts, too.
        """
        with suppress(OSError):
            _FORGET.write_text(_PEAK)
        start = time.perf_counter()
        yield
        self.rows.append(
            {
                "stage": name,
                "seconds": round(time.perf_counter() - start, 3),
                "peak_mb": round(peak_mb(), 1),
            }
        )


def peak_mb() -> float:
    """Largest resident memory of this process so far, or since the last stage began, in MB."""
    # Other than `getrusage`, this knows nothing of the process that started ours.
    with suppress(OSError):
        for line in _STATUS.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
