"""Results on the disk, as a batch sees them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path

from align3r.batch.values import Outcome, Task
from align3r.config import Options
from align3r.errors import InputError
from align3r.io.cache import fingerprint
from align3r.io.files import read_json
from align3r.io.jsonable import jsonable

_SCENE = "scene.json"


def key_of(source: Path, options: Options) -> str:
    """Tells inputs and options apart: what has the same key needs not be computed again.

    Raises:
        InputError: The source cannot be read.
    """
    output = dataclasses.asdict(dataclasses.replace(options.output, overwrite=False))
    text = json.dumps(jsonable(output), sort_keys=True)
    return hashlib.sha256((fingerprint(source, options) + text).encode()).hexdigest()


def digest(out: Path) -> str | None:
    """Of the result in this folder: no two runs write the same; None if there is none."""
    try:
        return hashlib.sha256((out / _SCENE).read_bytes()).hexdigest()
    except OSError:
        return None


def is_finished(out: Path, replaces: str | None) -> bool:
    """Whether there is a result, other than the one that it was to replace.

    A result is written whole or not at all, so one that is there is whole. It may be there without
    anybody knowing: its worker, or who waited for it, died just then.
    """
    found = digest(out)
    return found is not None and found != replaces


def done(task: Task) -> Outcome:
    """The outcome of a video whose result is there.

    Raises:
        InputError: scene.json cannot be read, or is damaged.
    """
    path = task.out / _SCENE
    try:
        about = read_json(path)
        return Outcome(
            task.source,
            task.out,
            "done",
            frames=int(about["n_frames"]),
            seconds=float(sum(row["seconds"] for row in about["timings"])),
            warnings=len(about["warnings"]),
            attempts=task.attempt,
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise InputError(
            f"{path} of a finished video is damaged: {error}",
            hint="remove its folder, and the video is done again",
        ) from error
