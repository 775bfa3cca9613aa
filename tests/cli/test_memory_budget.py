"""`--memory-budget`: a plan that fits, the same result from files, or an error with ways out."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import align3r
from align3r import pipeline, planning
from align3r.cli.main import main
from align3r.config import AlignOptions, InputOptions, Options, OutputOptions
from align3r.io.storage import MappedFiles

CLIP = str(Path(__file__).resolve().parents[2] / "examples" / "clip.mp4")
OPTIONS = Options(
    input=InputOptions(max_frames=4, size=128),
    align=AlignOptions(steps=20),
    output=OutputOptions(html=False, pictures=False),
)
WORDS = ["--max-frames", "4", "--size", "128", "--align.steps", "20", "--output.no-html"]


def everything_in_files() -> float:
    """GB in which nothing that can be in a file has a place in memory."""
    plan = pipeline.plan(CLIP, OPTIONS).memory
    spare = plan.predictions + plan.flows + plan.survey + plan.solution
    return (plan.total_bytes - spare + 1000) / 1e9


@pytest.mark.parametrize("saved", [True, False], ids=["with an output", "without"])
def test_the_result_does_not_depend_on_where_arrays_are(
    tmp_path: Path, saved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    empty = MappedFiles.empty

    def note(self: MappedFiles, name: str, *rest: object) -> np.ndarray:
        made.append(name)
        return empty(self, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(MappedFiles, "empty", note)
    plain = align3r.reconstruct(CLIP, options=OPTIONS)
    assert made == []
    out = tmp_path / "out" if saved else None
    tight = align3r.reconstruct(CLIP, out=out, options=OPTIONS, memory_budget=everything_in_files())
    assert {name.partition(".")[0] for name in made} == {
        "predictions",
        "flows",
        "survey",
        "solution",
    }
    np.testing.assert_array_equal(tight.world_from_cam, plain.world_from_cam)
    for i in range(4):
        np.testing.assert_array_equal(tight.depth(i), plain.depth(i))
        np.testing.assert_array_equal(tight.moving(i), plain.moving(i))
    assert "on disk" in tight.info["plan"]
    assert sorted(path.name for path in tmp_path.iterdir()) == (["out"] if saved else [])


def test_a_budget_that_is_too_small_is_exit_code_4_with_ways_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ["--max-frames", "16", "--align.steps", "20"]
    # The libraries alone are counted with 0.6 GB.
    tight = ["--size", "512", "--memory-budget", "0.65"]
    words = ["reconstruct", CLIP, "-o", str(tmp_path / "out"), *whole]
    assert main([*words, *tight]) == 4
    told = capsys.readouterr().err
    assert "GB of memory" in told
    ways = re.findall(r"--input\.(size|max-frames) (\d+)", told)
    assert len(ways) == 2
    for name, value in ways:
        assert main([*words, *tight, f"--input.{name}", value, "--dry-run"]) == 0
    assert main([*words, "--memory-budget", "0"]) == 2
    assert "--memory-budget is 0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_too_small_is_said_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "free_disk_bytes", lambda folder: 1000)
    out = tmp_path / "out"
    assert main(["reconstruct", CLIP, "-o", str(out), *WORDS]) == 4
    told = capsys.readouterr().err
    assert "GB of disk, 0.0 GB are free" in told and "-o on a disk with more room" in told
    assert list(tmp_path.iterdir()) == []
