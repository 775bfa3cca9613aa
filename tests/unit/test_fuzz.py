"""Broken files of every kind: the fuzzer of `benchmarks/fuzz.py`, a short and seeded run of it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import fuzz
from fuzz_mutations import mutate
from fuzz_readers import READERS

FILES = {"weights": 25, "whole command": 10, "result: all exports": 4, "video": 60}
"""How many files of readers that take their time; 100 of the others."""


@pytest.mark.parametrize("reader", READERS)
def test_broken_files_are_refused_in_words(reader: str, tmp_path: Path) -> None:
    files = FILES.get(reader, 100)
    arguments = argparse.Namespace(
        seed=20, first=0, files=files, timeout=30.0, memory_mb=2500.0, keep=tmp_path
    )
    tally = fuzz.fuzz(reader, arguments)
    assert tally.files == files
    assert not tally.findings, "\n".join(f"{f['outcome']}: {f['trace']}" for f in tally.findings)


def test_the_same_seed_breaks_the_same_files() -> None:
    whole = bytes(range(256)) * 8
    first, again, other = (
        [
            mutate(whole, "a.bin", np.random.default_rng([seed, k]), others=[whole])
            for k in range(50)
        ]
        for seed in (1, 1, 2)
    )
    assert first == again != other
    assert sum(broken != whole for broken in first) > 45


# A reader of which every way to fail is known, for the tests of the fuzzer itself.

BAD_READER = """
import os, sys, time
sys.path[:0] = [{benchmarks!r}, {tests!r}]
import fuzz_child, fuzz_readers
from fuzz_arrays import CANARY

def read(folder, name):
    data = (folder / name).read_bytes()
    if data == b"whole":
        return
    number = int(data)
    if number == 0: raise KeyError("uncaught")
    if number == 1: os.kill(os.getpid(), 11)
    if number == 2: time.sleep(60)
    if number == 3: bytearray(b"x") * 900_000_000 ; time.sleep(60)
    if number == 4: open(CANARY, "w").close()
    if number == 5: (folder / "left").write_bytes(b"")
    if number == 6: os._exit(3)

reader = fuzz_readers.Reader("bad", lambda folder: (folder / "a").write_bytes(b"whole"), read)
fuzz_readers.READERS["bad"] = reader
numbers = iter(range(int(sys.argv[3]), 100))
fuzz_child.mutate = lambda data, name, rng, others: str(next(numbers)).encode()
fuzz_child.main()
"""


def test_every_way_to_fail_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"benchmarks": str(fuzz.HERE), "tests": str(Path(__file__).parents[1])}
    (tmp_path / "fuzz_child.py").write_text(BAD_READER.format(**places))
    monkeypatch.setattr(fuzz, "HERE", tmp_path)
    # On a busy machine it takes a while until 700 MB are there; only the hang waits to the end.
    arguments = argparse.Namespace(
        seed=0, first=0, files=9, timeout=8.0, memory_mb=700.0, keep=tmp_path / "kept"
    )
    tally = fuzz.fuzz("bad", arguments)
    assert [finding["outcome"] for finding in tally.findings] == [
        "uncaught KeyError",
        "crash SIGSEGV",
        "hang",
        "memory",
        "code was run",
        "left behind",
        "ended",
    ]
    assert tally.outcomes["read"] == 2
    assert (tmp_path / "kept" / "bad-1-a").read_bytes() == b"1"
