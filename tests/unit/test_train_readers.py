"""Processes that read: what a signal to all of them does, and what it leaves alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from align3r.errors import UsageError
from align3r.train.data.loader import _Keys, loader
from align3r.train.data.mixture import Mixture
from align3r.train.data.readers import begin, started


class Slow(Dataset[int]):
    """Tells who reads it."""

    def __getitem__(self, key: int) -> int:
        time.sleep(0.02)
        return os.getpid()


def read(count: int = 10_000) -> Iterator[int]:
    return started(
        DataLoader(
            Slow(),
            batch_size=None,
            sampler=range(count),
            num_workers=2,
            multiprocessing_context="spawn",
            worker_init_fn=begin,
            generator=torch.Generator(),
        )
    )


def group(kind: str, ready: Path) -> subprocess.Popen[str]:
    """This file as a program, whose processes are a group of their own."""
    return subprocess.Popen(
        [sys.executable, __file__, kind, str(ready)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError("it did not start")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["early", "late"])
def test_a_signal_to_all_leaves_readers_alone_until_they_are_ended(
    tmp_path: Path, kind: str, number: int
) -> None:
    """While they start, and while they read; they end with the program, which does not hang."""
    ready = tmp_path / "ready"
    process = group(kind, ready)
    try:
        wait_for(ready)
        os.killpg(process.pid, number)
        out, said = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert (process.returncode, out.strip(), said) == (0, "heard 1, read 20", "")


def test_readers_do_as_they_are_told_the_second_time() -> None:
    made = read()
    reader = next(made)
    os.kill(reader, signal.SIGTERM)
    assert reader in {next(made) for _ in range(20)}
    os.kill(reader, signal.SIGTERM)
    with pytest.raises(RuntimeError, match=r"killed|exited"):
        for _ in range(200):
            next(made)


def test_signals_are_heard_again() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    next(read(2))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def plan(**changes: Any) -> Mixture:
    given: dict[str, Any] = {"samples": (8, 8), "singles": (False, True), "sizes": ((32, 32),)}
    given |= {"lengths": (2, 3, 5), "effective_batch": 20, "views_a_batch": 8}
    return Mixture(**(given | changes))


class Planned:
    """Batches of which nothing but their number is asked; the last steps have the fewest."""

    mixture = plan(effective_batch=4)

    def micro_batches(self, step: int) -> int:
        return 2 if step < 90 else 1


def test_too_few_batches_for_the_processes_are_found_before_the_first_step() -> None:
    planned: Any = Planned()
    with pytest.raises(UsageError, match="step 90 has 1 batches for 2 processes"):
        loader(planned, 3, last_step=100, world=2)
    loader(planned, 3, last_step=90, world=2)
    loader(planned, 3, last_step=100, world=1)


def test_steps_are_not_counted_where_all_have_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    mixture = plan()
    least = -(-mixture.effective_batch // mixture.views_a_batch)
    assert min(len(mixture.batches(step)) for step in range(200)) >= least == 3
    monkeypatch.setattr(Planned, "mixture", mixture)
    monkeypatch.setattr(Planned, "micro_batches", None)
    planned: Any = Planned()
    _Keys(planned, (0, 10**9), rank=0, world=least).check()


def program(kind: str, ready: Path) -> None:
    heard: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: heard.append(number))
    made = read()
    if kind == "late":
        next(made)
    ready.touch()
    done = 0
    while done < 20:
        next(made)
        done += bool(heard)
    print(f"heard {len(heard)}, read {done}")


if __name__ == "__main__":
    program(sys.argv[1], Path(sys.argv[2]))
