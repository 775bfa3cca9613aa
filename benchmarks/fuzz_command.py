"""The whole command, for the fuzzer to be given broken files."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path


def run_command(folder: Path, name: str) -> None:
    """The whole command: an exit code that is no accident, words, no traceback, no output."""
    from align3r.cli.main import main

    path, out = str(folder / name), folder.parent / "command-out"
    video = str(folder / "a.mp4") if not name.startswith("a.mp4") else str(folder / "d.avi")
    if name.startswith("out/"):
        words = ["export", str(folder / "out"), "--to", "glb", "-o", str(out)]
    elif name.startswith("poses"):
        words = ["reconstruct", video, "--poses", path, "--dry-run", "-o", str(out)]
    elif name.startswith("options"):
        words = ["reconstruct", video, "--config", path, "--dry-run", "-o", str(out)]
    else:
        words = ["reconstruct", path, "--dry-run", "--input.size", "64", "-o", str(out)]
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    left = sorted(path.name for path in folder.parent.glob("*command-out*"))
    for path_left in folder.parent.glob("command-out/*"):
        path_left.unlink()
    with contextlib.suppress(OSError):
        out.rmdir()
    if code not in (0, 2, 3, 4, 5, 6) or "Traceback" in said.getvalue():
        raise AssertionError(f"exit code {code}: {said.getvalue()[-300:]}")
    if code:
        if not said.getvalue().startswith("error: "):
            raise AssertionError(f"exit code {code} without a word: {said.getvalue()[-300:]}")
        if left:
            raise AssertionError(f"exit code {code} and left behind {left}")
        raise CommandRefused(code)


class CommandRefused(Exception):
    """A command ended with an exit code that says why."""

    def __init__(self, code: int) -> None:
        super().__init__(f"exit code {code}")
        self.code = code
