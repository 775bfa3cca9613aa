"""The commands as a person types them, on the rendered example, with the real pipeline."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from align3r.cli.main import main
from align3r.io.result import load

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLIP, TRUTH = str(EXAMPLES / "clip.mp4"), str(EXAMPLES / "clip_truth.npz")
SMALL = ["--max-frames", "3", "--size", "128", "--align.steps", "5"]
Captured = pytest.CaptureFixture[str]


def test_reconstruct_refuse_repeat_and_export(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    words = ["reconstruct", CLIP, "-o", str(out), *SMALL]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert "predict pairs" in shown and "scene.html" in shown
    scene = load(out)
    assert len(scene) == 3 and np.isfinite(scene.world_from_cam).all()
    assert scene.depth(0).shape == scene.size[::-1]
    assert {p.name for p in out.iterdir()} >= {"scene.html", "depth.mp4", "cameras.png"}

    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err
    again = ["reconstruct", CLIP, "-o", str(tmp_path / "again")]
    assert main([*again, "--config", str(out / "scene.json")]) == 0
    repeated = load(tmp_path / "again")
    np.testing.assert_array_equal(repeated.world_from_cam, scene.world_from_cam)
    np.testing.assert_array_equal(repeated.depth(2), scene.depth(2))

    assert main(["export", str(out), "--to", "tum", "ply", "glb"]) == 0
    assert np.loadtxt(out / "export" / "trajectory.txt").shape == (3, 8)


def test_dry_run_names_frames_pairs_and_memory(tmp_path: Path, capsys: Captured) -> None:
    assert main(["reconstruct", CLIP, "-o", str(tmp_path / "out"), *SMALL, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "3 frames of 128x96, 3 pairs" in shown and "GB are free" in shown
    assert not list(tmp_path.iterdir())


def test_compare_is_reproducible(tmp_path: Path) -> None:
    reports = []
    for name in ("one", "two"):
        words = ["compare", CLIP, "-o", str(tmp_path / name), "--truth", TRUTH, *SMALL]
        assert main([*words, "--output.no-html", "--output.no-pictures"]) == 0
        report = json.loads((tmp_path / name / "compare.json").read_text())
        for run in report["runs"].values():
            for measured in ("predict_seconds", "align_seconds", "align_peak_mb"):
                run.pop(measured)
        reports.append(report)
    assert reports[0] == reports[1]
    for geometry in ("depth", "scale"):
        assert 0 < reports[0]["runs"][geometry]["score"]["abs_rel"] < 1


@pytest.mark.parametrize("content", [None, b"", b"this is no video at all"])
def test_what_is_no_video_is_3_and_leaves_nothing(
    tmp_path: Path, capsys: Captured, content: bytes | None
) -> None:
    source, out = tmp_path / "a.mp4", tmp_path / "out"
    if content is not None:
        source.write_bytes(content)
    assert main(["reconstruct", str(source), "-o", str(out)]) == 3
    lines = capsys.readouterr().err.splitlines()
    # A file that is there has to be opened, by a run that has begun.
    begun = ["model"] if content else []
    assert [line.split(":")[0] for line in lines] == [*begun, "error", "hint"]
    assert list(tmp_path.iterdir()) == ([source] if content is not None else [])
