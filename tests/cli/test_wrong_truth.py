"""`align3r compare --truth` of a wrong file names it and says what was expected."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from align3r.cli.main import main

CLIP = str(Path(__file__).resolve().parents[2] / "examples" / "clip.mp4")


@pytest.mark.parametrize("kind", ["empty", "array", "archive", "words", "cut", "nowhere"])
def test_wrong_truth(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    path = tmp_path / "truth.npz"
    if kind == "array":
        with path.open("wb") as file:
            np.save(file, np.ones(3))
    elif kind == "archive":
        np.savez(path, size=np.ones((2, 3)))
    elif kind != "nowhere":
        path.write_bytes({"empty": b"", "words": b"no truth", "cut": b"PK\x03\x04cut"}[kind])
    words = ["compare", CLIP, "-o", str(tmp_path / "out"), "--truth", str(path)]
    assert main(words) == 3
    told = capsys.readouterr().err
    assert str(path) in told
    assert "truth of a rendered clip" in told or "ground truth" in told
    assert "examples/render_clip.py" in told and "Traceback" not in told
    assert not (tmp_path / "out").exists()
