"""The process that breaks files and reads them; it says what it does before it does it."""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import sys
import time
import traceback
import zlib
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from fuzz_arrays import CANARY
from fuzz_command import CommandRefused
from fuzz_mutations import mutate
from fuzz_readers import READERS, Reader, files_of

from align3r.errors import Align3rError


class Broken:
    """A reader's folder in which one file after the other is broken and mended."""

    def __init__(self, reader: Reader, seed: int, folder: Path) -> None:
        self.reader, self._seed, self.whole = reader, seed, folder / "whole"
        self.folder = folder / "files"
        shutil.rmtree(folder, ignore_errors=True)
        self.whole.mkdir(parents=True)
        reader.write(self.whole)
        self.names = list(files_of(reader, self.whole))
        self.mend()

    def mend(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.whole, self.folder)

    def name(self, number: int) -> str:
        return self.names[number % len(self.names)]

    def break_one(self, number: int) -> str:
        """Break file `number`, always in the same way; below 0 nothing is broken."""
        name = self.name(number)
        if number >= 0:
            reader = zlib.crc32(self.reader.name.encode())
            rng = np.random.default_rng([self._seed, reader, number])
            others = [(self.whole / other).read_bytes() for other in self.names]
            data = mutate((self.whole / name).read_bytes(), name, rng, others=others)
            (self.folder / name).write_bytes(data)
        return name

    def changed(self, name: str) -> list[str]:
        """What is there, gone or different although nobody should have written it."""
        if self.reader.repairs:
            return []
        there = {path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*")}
        meant = {path.relative_to(self.whole).as_posix() for path in self.whole.rglob("*")}
        return sorted(there ^ meant)


def outcome_of(broken: Broken, name: str) -> tuple[str, str]:
    """Class of what happened, and the traceback where it should not have."""
    try:
        broken.reader.read(broken.folder, name)
    except Align3rError as error:
        if not str(error) or "\n" in str(error):
            return "no sentence", repr(str(error))
        # Of the family; what a reader makes of them is one of these.
        family = (kind for kind in type(error).__mro__ if kind.__module__ == "align3r.errors")
        return next(family).__name__, ""
    except CommandRefused as refused:
        return f"exit code {refused.code}", ""
    except BaseException as error:
        return f"uncaught {type(error).__name__}", traceback.format_exc()
    return "read", ""


def main() -> None:
    reader, seed, first, last, place = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    # Everything said goes to the parent by this descriptor; what C libraries print, nowhere.
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    if not os.environ.get("FUZZ_STDERR"):
        os.dup2(nowhere, 2)
    folder = Path(place)
    broken = Broken(READERS[reader], int(seed), folder)
    os.chdir(folder)

    def tell(**what: Any) -> None:
        print(json.dumps(what), file=pipe, flush=True)

    # First every file as it is: what is imported then, and the memory of it, counts for none.
    for number in [*range(-len(broken.names), 0), *range(int(first), int(last))]:
        name = broken.break_one(number)
        tell(start=number, name=name)
        started = time.perf_counter()
        outcome, trace = outcome_of(broken, name)
        seconds = time.perf_counter() - started
        if Path(CANARY).exists():
            outcome = "code was run"
            Path(CANARY).unlink()
        elif left := broken.changed(name):
            outcome, trace = "left behind", ", ".join(left)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
        tell(end=number, name=name, outcome=outcome, seconds=seconds, peak_mb=peak, trace=trace)
        if broken.reader.repairs or outcome == "left behind":
            broken.mend()
        else:
            shutil.copyfile(broken.whole / name, broken.folder / name)


if __name__ == "__main__":
    main()
