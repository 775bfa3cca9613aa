"""Real processes: two runs into one output, and a network killed between its pairs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from golden_networks import hub_folder

from align3r.cli.main import main
from align3r.pairwise.network.predictor import NetworkPredictor

CLIP = str(Path(__file__).resolve().parents[2] / "examples" / "clip.mp4")
SMALL = ["--max-frames", "6", "--size", "128", "--align.steps", "5", "--output.no-html"]
PATIENCE_S = 120.0
# Every pair is kept, and each takes a moment, so that there is a middle to be killed in.
SLOW = """
import sys, time
from align3r.cli.main import main
from align3r.models.pair_network import PairNetwork
from align3r.pairwise.network import predictor
predictor._KEEP_EVERY_S = 0.0
decode = PairNetwork.decode
def slow(self, *frames):
    time.sleep(0.1)
    return decode(self, *frames)
PairNetwork.decode = slow
sys.exit(main(sys.argv[1:]))
"""


def command(out: Path, weights: Path) -> list[str]:
    words = ["reconstruct", CLIP, "-o", str(out), *SMALL, "--device", "cpu", "--model", "dust3r"]
    return [*words, "--pairs.graph", "complete", "--weights", str(weights)]


def contents(out: Path) -> dict[str, bytes]:
    """Everything but scene.json, which holds the timings."""
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "scene.json"
    }


def start(words: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def wait_for(process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not ready():
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < end, "what the test waits for never came"
        time.sleep(0.005)


def kept_pairs(out: Path) -> int:
    return len(list(out.with_name(f".{out.name}.cache").glob("some-pairs.*.npz")))


def test_a_second_run_and_a_killed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = hub_folder("dust3r_dpt", tmp_path / "weights")
    place = tmp_path / "place"
    whole, first, killed = place / "whole", place / "first", place / "killed"
    assert main(command(whole, weights)) == 0
    expected = contents(whole)

    with start(command(first, weights)) as process:
        wait_for(process, lambda: kept_pairs(first) > 0)
        assert main(command(first, weights)) == 2
        assert process.poll() is None, "the second run ends while the first is at work"
        assert f"another run is writing {first}" in capsys.readouterr().err
        assert process.wait() == 0
    assert contents(first) == expected

    with start(command(killed, weights)) as process:
        wait_for(process, lambda: kept_pairs(killed) >= 3)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    kept = kept_pairs(killed)
    assert not killed.exists() and (place / ".killed.lock").exists()

    told: list[int] = []
    predict = NetworkPredictor.predict

    def watched(self: NetworkPredictor, *args, progress, **words):  # type: ignore[no-untyped-def]
        def count(stage: str, done: int, total: int) -> None:
            told.append(done)
            progress(stage, done, total)

        return predict(self, *args, progress=count, **words)

    monkeypatch.setattr(NetworkPredictor, "predict", watched)
    assert main(command(killed, weights)) == 0
    pairs = json.loads((killed / "scene.json").read_text())["pairs"]
    assert told == list(range(kept, pairs + 1)) and 3 <= kept < pairs
    assert contents(killed) == expected
    assert sorted(path.name for path in place.iterdir()) == ["first", "killed", "whole"]
