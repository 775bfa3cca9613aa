"""Every lesson runs, as its file stands, on a shorter clip of the same room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
LESSONS = sorted(EXAMPLES.glob("0*.py"))
SHORT = "import render_clip as r; from pathlib import Path; " + (
    "c = r.render(n_frames=12, size=(192, 144), smooth=1); "
    "r.write_video(c.images, Path('clip.mp4'), fps=12.0); r.write_truth(c, Path('clip_truth.npz'))"
)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the examples beside a clip of 12 small frames and its truth."""
    root = tmp_path_factory.mktemp("school")
    copy = root / "examples"
    copy.mkdir()
    for path in EXAMPLES.iterdir():
        if path.suffix == ".py":
            shutil.copy(path, copy)
    subprocess.run([sys.executable, "-c", SHORT], cwd=copy, check=True, capture_output=True)
    assert (copy / "clip.mp4").stat().st_size < (EXAMPLES / "clip.mp4").stat().st_size
    return root


def test_lessons_are_numbered_without_a_gap() -> None:
    numbers = [int(path.name[:2]) for path in LESSONS]
    assert numbers == list(range(1, len(LESSONS) + 1))


@pytest.mark.parametrize("lesson", LESSONS, ids=[path.stem for path in LESSONS])
def test_a_lesson_runs(lesson: Path, school: Path) -> None:
    # Lessons type `align3r`, which is beside the Python that runs the tests.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, str(school / "examples" / lesson.name)],
        cwd=school,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "a lesson that says nothing teaches nothing"
    assert "Traceback" not in done.stderr
