"""Checkpoints of a training: tensors as safetensors, the rest as JSON; nothing is unpickled."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from align3r.errors import InputError
from align3r.io.files import check_regular, read_json
from align3r.io.whole import whole_or_nothing

log = logging.getLogger(__name__)

_TENSORS, _ABOUT = "tensors.safetensors", "checkpoint.json"
_NAME = re.compile(r"step_([0-9]{8,12})")
_VERSION = 2
_CHUNK = 2**24


@dataclass(frozen=True)
class Checkpoint:
    """All that the rest of a training depends on beside its data and options."""

    step: int
    """Steps that are over."""
    tensors: Mapping[str, Tensor]
    """Parameters, what the optimiser knows, averages; by names without meaning here."""
    state: Mapping[str, Any] = field(default_factory=dict)
    """What else goes on: plain JSON values."""


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, keep: int) -> None:
    """Write a checkpoint whole, then remove all but the newest `keep`.

    Args:
        folder: Of all checkpoints of a training.
        checkpoint: One of the same step is replaced.
        keep: At least 1.

    Raises:
        InputError: The place cannot be written, or there is no space left.
    """
    place = folder / f"step_{checkpoint.step:08d}"
    with whole_or_nothing(place, check=lambda: None) as scratch:
        tensors = {name: t.detach().cpu().contiguous() for name, t in checkpoint.tensors.items()}
        save_file(tensors, scratch / _TENSORS)
        about = {
            "version": _VERSION,
            "step": checkpoint.step,
            "sha256": _digest(scratch / _TENSORS, checkpoint.state),
            "state": checkpoint.state,
        }
        text = json.dumps(about, indent=1, allow_nan=False)
        (scratch / _ABOUT).write_text(text + "\n", encoding="utf-8")
    for step in steps_saved(folder)[:-keep]:
        shutil.rmtree(folder / f"step_{step:08d}", ignore_errors=True)
    for left in folder.glob(".step_*"):  # of runs that were killed while they wrote
        shutil.rmtree(left, ignore_errors=True)


def steps_saved(folder: Path) -> list[int]:
    """The steps of which there are checkpoints, ascending."""
    found = (_NAME.fullmatch(path.name) for path in folder.glob("step_*"))
    return sorted(int(match[1]) for match in found if match is not None)


def newest_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that is whole; None if there are none at all.

    Raises:
        InputError: There are some, and all are damaged.
    """
    steps = steps_saved(folder)
    for step in reversed(steps):
        try:
            return read_checkpoint(folder, step)
        except InputError as error:
            log.warning("%s; the checkpoint before it is taken", error)
    if steps:
        raise InputError(
            f"all {len(steps)} checkpoints in {folder} are damaged",
            hint="start again with another output folder",
        )
    return None


def read_checkpoint(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of a step, on the CPU.

    Raises:
        InputError: It is not whole.
    """
    place = folder / f"step_{step:08d}"
    try:
        about = read_json(place / _ABOUT)
        check_regular(place / _TENSORS)
        known = about["version"] == _VERSION and about["step"] == step
        state = dict(about["state"])
        if not known or about["sha256"] != _digest(place / _TENSORS, state):
            raise ValueError("it holds something else than was written")
        return Checkpoint(step, load_file(place / _TENSORS), state)
    except (ValueError, KeyError, TypeError, OSError, SafetensorError) as error:
        raise InputError(
            f"{place} is no whole checkpoint", hint="remove it, the one before it will do"
        ) from error


def _digest(path: Path, state: Mapping[str, Any]) -> str:
    """SHA-256 of all that is in a checkpoint but its step."""
    # As it comes back from a file: keys are words there.
    digest = hashlib.sha256(json.dumps(json.loads(json.dumps(state)), sort_keys=True).encode())
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
