"""The folder of a training: which options it has, and whether a run may go on in it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from align3r.errors import InputError, UsageError
from align3r.io.files import read_json
from align3r.io.jsonable import write_json
from align3r.io.whole import disk_errors_in_words

OPTIONS, CHECKPOINTS, RESULT = "options.json", "checkpoints", "result"
CACHES = frozenset({"labels", "priors"})
"""What may be in the folder before there is a training: monocular depth of its images."""
FORMAT = "align3r-training"


def open_folder(out: Path, options: Any, *, resume: bool) -> None:
    """Make the folder of a training with its options in it, or find that a run may go on in one.

    Args:
        out: It is made if there is none.
        options: The dataclass that holds all options of the training.
        resume: Whether to go on with what is there.

    Raises:
        UsageError: It holds a training and none shall go on, the options of that one change what
            is learned, or it holds something else.
        InputError: It cannot be read or written.
    """
    check_folder(out, options, resume=resume)
    with disk_errors_in_words(out):
        out.mkdir(parents=True, exist_ok=True)
        kind = type(options).__name__
        about = {"format": FORMAT, "version": 1, "kind": kind, "options": options}
        write_json(about, out / OPTIONS)


def check_folder(out: Path, options: Any, *, resume: bool) -> None:
    """Refuse what `open_folder` refuses; nothing is written.

    Raises:
        UsageError: As there.
        InputError: It cannot be read.
    """
    path = out / OPTIONS
    if path.exists():
        if not resume:
            raise UsageError(
                f"{out} holds a training", hint="resume it, or choose another place with -o"
            )
        difference = first_difference(_read(path), options)
        if difference is not None:
            name, before, now = difference
            raise UsageError(
                f"the training in {out} has {name} {_short(before)}, not {_short(now)}",
                hint="resume it with the options that it was started with",
            )
    elif out.exists() and (not out.is_dir() or {p.name for p in out.iterdir()} - CACHES):
        raise UsageError(f"{out} holds no training", hint="choose another place with -o")


def first_difference(before: Mapping[str, Any], options: Any) -> tuple[str, Any, Any] | None:
    """The first option that changes what is learned and is not as it was.

    Args:
        before: Options as JSON has them.
        options: The dataclass of now; fields whose metadata say `free` may differ.

    Returns:
        The flag of the option, its value of then and now; None if there is none.
    """
    for name, value in _bound(options):
        found: Any = before
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        # As it comes back from a file: tuples are lists there.
        now = json.loads(json.dumps(value))
        if found != now:
            return f"--{name.replace('_', '-')}", found, now
    return None


def _bound(options: Any, group: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of every field that is not free."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from _bound(value, f"{group}{field.name}.")
        elif not field.metadata.get("free"):
            yield f"{group}{field.name}", value


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = read_json(path)
        if found["format"] == FORMAT and isinstance(found["options"], Mapping):
            options: Mapping[str, Any] = found["options"]
            return options
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} cannot be read", hint="choose another place with -o") from error
    raise InputError(f"{path} is not of a training", hint="choose another place with -o")


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
