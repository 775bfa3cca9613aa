"""What goes to a worker and what comes back; plain values, so that any machine understands them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from align3r.config import Options

State = Literal["todo", "done", "failed"]


@dataclass(frozen=True)
class Task:
    """One video to reconstruct."""

    source: Path
    """Absolute: a video, a folder of images, or a list file."""
    out: Path
    """Its result folder, absolute."""
    log: Path
    """Everything that is told about it."""
    options: Options
    replaces: str | None
    """Digest of the result that stands there and is to be replaced; see `results.digest`."""
    attempt: int = 1
    version: str = ""
    """Of the align3r that asks."""


@dataclass(frozen=True)
class Outcome:
    """What became of a video."""

    source: Path
    out: Path
    state: State
    skipped: bool = False
    """It was done before this call."""
    exit_code: int = 0
    """What `align3r reconstruct` would have ended with."""
    error: str = ""
    """One sentence; empty if it is done."""
    hint: str = ""
    frames: int | None = None
    seconds: float | None = None
    """Of all stages, without starting the process; None if it is not done."""
    warnings: int = 0
    """How many; they are in the log and in scene.json."""
    attempts: int = 0
    """Workers that began with it in this call."""
