"""Kill a command wherever it touches the disk, and look whether the next one makes it good.

A program by itself: `python tests/killing.py JOB.json` prints a JSON list, a row a kill point. It
imports what is slow once, and every run is a fork of it: nothing else has run in it before, and a
fork can be killed like any process.

A kill point is a call of the operating system that Python makes for a path in the folder of the
run (a file opened for writing, renamed or removed, a folder made or removed), or a report of the
pipeline's progress. The process ends by SIGKILL just before it.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "shutil.rmtree"}


class Points:
    """Counts the kill points of a run in `place`, and ends it at one of them."""

    def __init__(self, place: Path, *, at: int | None = None) -> None:
        self._place, self._at = str(place), at
        self.labels: list[str] = []

    def watch(self) -> None:
        """From now on; an audit hook stays for the rest of the process."""
        sys.addaudithook(self._hear)
        from align3r.cli.terminal import Bars

        show = Bars.__call__

        def told(bars: Bars, stage: str, done: int, total: int) -> None:
            self._reach(f"progress {stage}")
            show(bars, stage, done, total)

        Bars.__call__ = told  # type: ignore[method-assign]

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        if event in CHANGES:
            paths = args[:2] if event == "os.rename" else args[:1]
        elif event == "open" and isinstance(args[2], int) and args[2] & WRITES:
            paths = args[:1]
        else:
            return
        for path in paths:
            if isinstance(path, str | os.PathLike) and str(path).startswith(self._place):
                self._reach(f"{event.removeprefix('os.')} {str(path)[len(self._place) + 1 :]}")
                return

    def _reach(self, label: str) -> None:
        self.labels.append(label)
        if self._at == len(self.labels):
            os.kill(os.getpid(), signal.SIGKILL)


def kind(label: str) -> str:
    """The label without what differs from frame to frame and run to run."""
    return re.sub(r"\d+|(?<=/)\.align3r\.\w+", "*", label)


def in_fork(work: Callable[[], int]) -> int:
    """Exit code of the work in a process of its own; minus the signal that ended it."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 120
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        if "ALIGN3R_SHOW" not in os.environ:
            os.dup2(nowhere, 1)
            os.dup2(nowhere, 2)
        code = work()
    finally:
        os._exit(code)


def contents(place: Path, ignored: Sequence[str]) -> dict[str, str | bytes]:
    """All files below a folder, and of scene.json and batch.json what does not tell the time."""
    found: dict[str, str | bytes] = {}
    for path in sorted(place.rglob("*")):
        name = str(path.relative_to(place))
        if path.is_dir() or any(name.startswith(start) for start in ignored):
            continue
        if path.name == "scene.json":
            about = json.loads(path.read_text())
            about.pop("timings", None)
            found[name] = json.dumps(about, sort_keys=True)
        elif path.name == "batch.json":
            rows = json.loads(path.read_text())["videos"].values()
            found[name] = json.dumps([[row["out"], row["state"], row["key"]] for row in rows])
        else:
            found[name] = path.read_bytes()
    return found


def chosen_points(labels: Sequence[str], choose: str | list[str]) -> list[int]:
    """Numbers of the kill points to try, from 1; see `run`."""
    numbered = list(enumerate(labels, 1))
    if choose == "all":
        return [at for at, _ in numbered]
    if choose == "kind":
        return sorted({kind(label): at for at, label in reversed(numbered)}.values())
    return sorted({next(at for at, label in numbered if word in label) for word in choose})


def run(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Kill the command of a job at its points, and resume it.

    Keys of a job: `main` (module:function that takes the words and gives an exit code), `words`,
    of the command; `place`, a folder that the run may use; `before`, a folder that is copied there
    first, if any; `choose`: "all" points, one of each "kind", or the first that has each of these
    words in it; `ignored`, names that may differ.
    """
    module, _, name = job["main"].partition(":")
    main = getattr(importlib.import_module(module), name)
    for heavy in job.get("imports", ["align3r.pipeline", "align3r.view.folder"]):
        importlib.import_module(heavy)
    place, labels = Path(job["place"]), Path(job["place"]).with_name("labels.json")

    def fresh() -> None:
        shutil.rmtree(place, ignore_errors=True)
        if job.get("before"):
            shutil.copytree(job["before"], place)
        else:
            place.mkdir()

    def attempt(at: int | None, *, watch: bool = True) -> int:
        points = Points(place, at=at)
        if watch:
            points.watch()
        code = int(main(job["words"]))
        if at is None and watch:
            labels.write_text(json.dumps(points.labels))
        return code

    fresh()
    assert in_fork(lambda: attempt(None)) == 0, "the unbroken run fails"
    expected, found = contents(place, job["ignored"]), json.loads(labels.read_text())
    rows = []
    for at in chosen_points(found, job["choose"]):
        fresh()
        killed = in_fork(lambda at=at: attempt(at))  # type: ignore[misc]
        left = sorted(path.name for path in place.iterdir())
        resumed = in_fork(lambda: attempt(None, watch=False))
        after = contents(place, job["ignored"])
        names = sorted(expected.keys() | after.keys())
        rows.append(
            {
                "at": at,
                "label": found[at - 1],
                "killed": killed == -signal.SIGKILL,
                "left": left,
                "resumed": resumed,
                "differs": [n for n in names if expected.get(n) != after.get(n)],
            }
        )
    return rows


if __name__ == "__main__":
    print(json.dumps(run(json.loads(Path(sys.argv[1]).read_text()))))
