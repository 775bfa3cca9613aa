"""The folder of a training: which options it has, and whether a run may go on in it."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from align3r.errors import InputError, UsageError
from align3r.io.files import read_json
from align3r.io.jsonable import write_json
from align3r.io.whole import disk_errors_in_words

log = logging.getLogger(__name__)

OPTIONS, CHECKPOINTS, RESULT = "options.json", "checkpoints", "result"
CACHES = frozenset({"labels", "priors"})
"""What may be in the folder before there is a training: monocular depth of its images."""
FORMAT = "align3r-training"
RESULT_FILES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "Fin3rOptions": frozenset({"adapter_config.json", "adapter_model.safetensors"}),
        "Align3rOptions": frozenset({"config.json", "model.safetensors"}),
    }
)
"""What may be in the folder of a result, which is replaced whole, by the kind of the options."""


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
    if (out / OPTIONS).exists():
        for name, before, now in _differences(_read(out / OPTIONS), options, told=True):
            log.warning("%s was %s, and is %s from here on", name, _short(before), _short(now))
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
        _check_result(out / RESULT, type(options).__name__)
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
    return next(_differences(before, options, told=False), None)


def _differences(
    before: Mapping[str, Any], options: Any, *, told: bool
) -> Iterator[tuple[str, Any, Any]]:
    """Flag and both values of what is bound and not as it was; or of what is free, but told."""
    for name, value, about in _fields(options):
        if told != bool(about.get("told")) or (about.get("free") and not told):
            continue
        found: Any = before
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        # As it comes back from a file: tuples are lists there.
        now = json.loads(json.dumps(value))
        if found != now:
            yield f"--{name.replace('_', '-')}", found, now


def _fields(options: Any, group: str = "") -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
    """Dotted name, value and metadata of every field."""
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if dataclasses.is_dataclass(value):
            yield from _fields(value, f"{group}{field.name}.")
        else:
            yield f"{group}{field.name}", value, field.metadata


def _check_result(folder: Path, kind: str) -> None:
    """Refuse what the result of a training would not replace, before it is trained.

    Raises:
        UsageError: There is something else.
    """
    ours = RESULT_FILES.get(kind)
    if ours is None or not folder.exists():
        return
    others = sorted({path.name for path in folder.iterdir()} - ours) if folder.is_dir() else ["it"]
    if others:
        raise UsageError(
            f"{folder} is to be replaced, and {others[0]} is no result of a training",
            hint="move it to another place",
        )


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
