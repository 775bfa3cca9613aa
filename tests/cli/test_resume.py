"""Killed in the middle, the same command goes on and gives the same files."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from align3r import pipeline
from align3r.cli.main import main
from align3r.cli.terminal import Bars
from align3r.optim.gauss_newton import ITERATIONS

CLIP = Path(__file__).resolve().parents[2] / "examples" / "clip.mp4"
STEPS = 250
SMALL = ["--max-frames", "5", "--size", "128", "--align.steps", str(STEPS), "--output.no-html"]
PATIENCE_S = 120.0


def command(out: Path) -> list[str]:
    return ["reconstruct", str(CLIP), "-o", str(out), *SMALL]


def contents(out: Path) -> dict[str, bytes]:
    """Everything but scene.json, which holds the timings."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "scene.json"
    }


def story(out: Path) -> Path:
    """Where the killed process's stderr goes: beside the folder of the result."""
    return out.parent.with_name(f"{out.parent.name}.stderr")


def kill_when(out: Path, ready: Callable[[], bool]) -> None:
    """Start the command as a process of its own and kill it, as soon as `ready` says so."""
    words = [sys.executable, "-m", "align3r", *command(out)]
    with (
        story(out).open("wb") as said,
        subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=said) as process,
    ):
        end = time.monotonic() + PATIENCE_S
        while not ready():
            assert process.poll() is None, "it finished before it could be killed"
            assert time.monotonic() < end, "what the test waits for never came"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert not out.exists(), "a killed run must not look finished"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert main(command(out)) == 0
    files = contents(out)
    names = {"cameras.npz", "points.ply", "depth.mp4", "cameras.png"}
    maps = {
        f"{kind}/00000{i}.{end}"
        for kind, end in (("depth", "exr"), ("moving", "png"))
        for i in range(5)
    }
    assert names | maps <= set(files)
    return files


def assert_same(out: Path, expected: dict[str, bytes]) -> None:
    found = contents(out)
    assert set(found) == set(expected)
    assert [name for name in found if found[name] != expected[name]] == []
    assert [path.name for path in out.parent.iterdir()] == [out.name], "nothing is left behind"


def aligned_steps(out: Path) -> int:
    """Steps in the checkpoint of the alignment; 0 before the first is written."""
    kept = out.with_name(f".{out.name}.cache") / "align.npz"
    if not kept.exists():
        return 0
    with np.load(kept) as arrays:
        return int(arrays["array.0/step"])


def test_killed_while_aligning(
    tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    kill_when(out, lambda: aligned_steps(out) > 0)
    done = aligned_steps(out)
    assert 0 < done < STEPS

    def never(*_: object) -> None:
        raise AssertionError("the pairs were kept, there is nothing to predict")

    ticks: list[int] = []
    show = Bars.__call__

    def watch(self: Bars, stage: str, step: int, total: int) -> None:
        if stage == "align":
            ticks.append(step)
        show(self, stage, step, total)

    monkeypatch.setattr(pipeline, "see_pairs", never)
    monkeypatch.setattr(Bars, "__call__", watch)
    assert main(command(out)) == 0
    (next_step,) = (
        STEPS * (k + 1) // (ITERATIONS + 1)
        for k in range(1, ITERATIONS)
        if STEPS * k // (ITERATIONS + 1) == done
    )
    assert ticks[0] == next_step and ticks[-1] == STEPS
    assert_same(out, undisturbed)


def test_killed_while_predicting_pairs(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    # The plan is told, then the pairs are predicted.
    kill_when(out, lambda: "5 frames of 128x96" in story(out).read_text())
    pairs = out.with_name(f".{out.name}.cache") / "pairs.npz"
    assert not pairs.exists(), "killed too late to test anything"
    assert main(command(out)) == 0
    assert_same(out, undisturbed)


def test_killed_while_saving(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    scratch = out.with_name(f".{out.name}.part")
    kill_when(out, lambda: (scratch / "cameras.npz").exists())
    assert scratch.exists()
    assert main(command(out)) == 0
    assert_same(out, undisturbed)


def test_other_options_start_anew(tmp_path: Path, undisturbed: dict[str, bytes]) -> None:
    out = tmp_path / "out"
    kill_when(out, lambda: aligned_steps(out) > 0)
    assert main([*command(out), "--align.smooth-weight", "0"]) == 0
    assert contents(out)["cameras.npz"] != undisturbed["cameras.npz"]
    assert not out.with_name(f".{out.name}.cache").exists()
