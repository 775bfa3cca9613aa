"""Workers of an evaluation: a process that dies costs what it was about, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from align3r.config import Options
from align3r.errors import UsageError
from align3r.evaluate import workers
from align3r.evaluate.one_sequence import Job
from align3r.evaluate.workers import Workers
from align3r.progress import as_report


def measure_or_die(job: Job, *, threads: int, share: float) -> Mapping[str, Any]:
    """Stands for `measure_one`, in a process of its own."""
    if job.sequence.startswith("dies"):
        os._exit(9)
    return {"sequence": job.sequence, "state": "measured", "seconds": 0.0}


def job(name: str) -> Job:
    return Job("align3r/pose/sintel", Path("root"), name, Options(), Path("out"))


def test_a_worker_that_dies_leaves_the_rest_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "measure_one", measure_or_die)
    names = ["dies", "a", "b", "c", "d"]
    found = list(Workers(jobs=2).measure([job(name) for name in names], as_report(False)))
    assert sorted(entry["sequence"] for entry in found) == sorted(names), "each once"
    states = {entry["sequence"]: entry["state"] for entry in found}
    assert states["dies"] == "failed"
    # Only what was being measured beside it can be lost with it.
    assert [states[name] for name in "bcd"].count("measured") >= 2
    died = next(entry for entry in found if entry["sequence"] == "dies")
    assert died["error"] == "its worker died" and died["hint"]


def test_nothing_to_measure_starts_nobody() -> None:
    for one in (Workers(jobs=3), Workers(address="nowhere:1"), Workers()):
        assert list(one.measure([], as_report(False))) == []


def test_workers_are_somewhere() -> None:
    with pytest.raises(UsageError, match="--jobs is 0"):
        Workers(jobs=0)
    with pytest.raises(UsageError, match="--jobs 2 is about this machine"):
        Workers(jobs=2, address="auto")
