"""How fast a training goes, and how much memory it takes."""

from __future__ import annotations

import time

import torch

from align3r.stopwatch import peak_mb


class Pace:
    """How fast it goes, and how much memory it has taken at most."""

    def __init__(self) -> None:
        self._samples, self._seconds = 0, 0.0
        self._start = time.perf_counter()

    def add(self, samples: int) -> None:
        """So many samples have been learned from since the last time."""
        self._samples += samples
        now = time.perf_counter()
        self._seconds, self._start = self._seconds + now - self._start, now

    def restart(self) -> None:
        """What was done since the last time does not count."""
        self._start = time.perf_counter()

    def take(self) -> dict[str, float]:
        """Since the last time it was asked."""
        found = {"samples_per_second": round(self._samples / max(self._seconds, 1e-9), 3)}
        self._samples, self._seconds = 0, 0.0
        if torch.cuda.is_available():
            found["device_memory_gb"] = round(torch.cuda.max_memory_allocated() / 1e9, 3)
        return {**found, "memory_gb": round(peak_mb() / 1e3, 3)}
