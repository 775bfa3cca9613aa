"""Real processes on a local Ray cluster: a worker that is killed, a second call, Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from align3r.batch.worker import BEGINS
from align3r.cli.main import main

pytest.importorskip("ray", reason="Ray is not installed: pip install 'align3r[batch]'")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="kills processes by signals")

# Many steps, so that there is a middle to be killed in.
SMALL = ["--model", "geometric", "--size", "96", "--output.no-html", "--output.no-pictures"]
SMALL += ["--align.solver", "adam", "--align.steps", "150"]
MANY_STEPS = 5000
PATIENCE_S = 600.0
LAST_BREATH_S = 20.0
"""Ray's processes see that theirs is over, and end by themselves."""
MARK = "ALIGN3R_TEST_MARK"


@dataclass
class Batch:
    """The command as a process of its own, and everything that it starts."""

    words: list[str]
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __enter__(self) -> Batch:
        # A process group of its own, as a shell gives it to what a person types.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "align3r", "batch", *self.words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Ray makes way for others, and a shared machine may have many of those.
            env={**os.environ, MARK: self.mark, "RAY_worker_niceness": "0"},
            process_group=0,
        )
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self.alive():
            os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def alive(self) -> list[int]:
        """Processes that the command started, it among them, wherever they are by now."""
        return [pid for pid, environment in environments() if self.mark in environment]

    def left(self) -> dict[int, str]:
        """What is still running a while after the command has ended."""
        end = time.monotonic() + LAST_BREATH_S
        while self.alive() and time.monotonic() < end:
            time.sleep(0.1)
        return {pid: commandline(pid) for pid in self.alive()}

    def wait_for(self, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not ready():
            assert self.process.poll() is None, f"it ended too early: {self.process.communicate()}"
            assert time.monotonic() < end, "what the test waits for never came"
            time.sleep(0.005)

    def outcome(self) -> tuple[int, str]:
        """Exit code and all that it printed."""
        said, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, said


def environments() -> Iterator[tuple[int, str]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "environ").read_text(errors="replace")
            is_dead = ") Z " in (folder / "stat").read_text(errors="replace")
        except OSError:
            continue
        if not is_dead:
            yield int(folder.name), text


def commandline(pid: int) -> str:
    try:
        return (Path("/proc") / str(pid) / "cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


@pytest.fixture
def films(two_films: Path, tmp_path: Path) -> Path:
    """The two films, and a file that is none."""
    folder = tmp_path / "films"
    shutil.copytree(two_films, folder)
    (folder / "broken.mp4").write_bytes(b"this is no video")
    return folder


def starts(out: Path) -> dict[str, list[int]]:
    """The processes that have begun with each video."""
    found = re.compile(rf" {BEGINS} on .*, process (\d+),")
    return {
        log.stem: [int(pid) for pid in found.findall(log.read_text())]
        for log in sorted(out.glob("logs/*.log"))
    }


def contents(out: Path) -> dict[str, bytes]:
    """Everything but scene.json, which holds the timings."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(out)): path.read_bytes() for path in files if path.name != "scene.json"
    }


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_killed_worker_loses_nothing_and_nothing_is_done_twice(
    films: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, alone = tmp_path / "outs", tmp_path / "alone"
    words = [str(films / "*.mp4"), "-o", str(out), *SMALL]
    with Batch(words) as batch:
        batch.wait_for((out / ".a.cache" / "align.npz").exists)
        assert main(["batch", *words]) == 2
        assert f"another run is writing {out}" in capsys.readouterr().err
        (killed,) = starts(out)["a"]
        os.kill(killed, signal.SIGKILL)
        code, said = batch.outcome()
        assert batch.left() == {}
    assert code == 7, said
    assert "a: the worker died (WorkerCrashedError); it is begun again" in said
    assert "2 done, 0 done before, 1 failed" in said
    assert "broken.mp4 is not a video that can be decoded" in said

    begun = starts(out)
    assert {name: len(pids) for name, pids in begun.items()} == {"a": 2, "b": 1, "broken": 1}
    again = (out / "logs" / "a.log").read_text().split(BEGINS)[2]
    assert "stage: align" in again and "stage: flow" not in again, "it goes on where it was"
    assert sorted(path.name for path in out.iterdir()) == ["a", "b", "batch.json", "logs"]
    rows = json.loads((out / "batch.json").read_text())["videos"].values()
    assert {row["out"]: (row["state"], row["attempts"], row["exit_code"]) for row in rows} == {
        "a": ("done", 2, 0),
        "b": ("done", 1, 0),
        "broken": ("failed", 1, 3),
    }
    assert main(["reconstruct", str(films / "a.mp4"), "-o", str(alone), *SMALL]) == 0
    assert contents(out / "a") == contents(alone)

    few = [str(films / f"{name}.mp4") for name in "ab"]
    assert main(["batch", *few, "-o", str(out), *SMALL]) == 0
    assert "0 done, 2 done before, 0 failed" in capsys.readouterr().out
    assert starts(out) == begun


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_ctrl_c_ends_everything(films: Path, tmp_path: Path) -> None:
    out = tmp_path / "outs"
    words = [str(films / "a.mp4"), "-o", str(out), *SMALL, "--align.steps", str(MANY_STEPS)]
    with Batch(words) as batch:
        batch.wait_for((out / ".a.cache" / "align.npz").exists)
        os.killpg(batch.process.pid, signal.SIGINT)
        code, said = batch.outcome()
        assert batch.left() == {}
    assert code == 130 and "run the same command again to resume" in said
    assert "Traceback" not in said
    assert not (out / "a").exists() and (out / ".a.cache" / "align.npz").exists()
    with np.load(out / ".a.cache" / "align.npz") as kept:
        assert 0 < kept["array.0/step"] < MANY_STEPS
    (row,) = json.loads((out / "batch.json").read_text())["videos"].values()
    assert row["state"] == "todo"
    assert not (tmp_path / ".outs.lock").exists()


def test_nobody_at_the_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes(b"never looked at")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # Bound and not listening: whoever knocks is refused.
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        words = ["batch", str(video), "-o", str(tmp_path / "outs"), "--address", address]
        assert main(words) == 2
    said = capsys.readouterr().err
    assert f"no Ray cluster answers at {address}" in said and "RAY_AUTH_MODE=token" in said
