"""Options from JSON: any result can be repeated with `--config its/scene.json`."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union

from align3r.config import Options
from align3r.errors import InputError, UsageError
from align3r.io.files import read_json

_LARGEST = 10**300
"""More than that is no float."""


def read_options(path: Path) -> Options:
    """The options of a scene.json, or of a JSON file that holds options alone.

    Raises:
        InputError: The file cannot be read or is no JSON.
        UsageError: It holds unknown options or values of the wrong kind.
    """
    try:
        found = read_json(path)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}", hint="give a scene.json") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no options", hint="give a scene.json")
    if "format" in found:  # the scene.json of a result
        if "options" not in found:
            raise UsageError(f"{path} has no options in it", hint="give one that align3r wrote")
        found = found["options"]
    return options_from_json(found)


def options_from_json(values: Mapping[str, Any]) -> Options:
    """Options from plain values; what is not mentioned keeps its default.

    Raises:
        UsageError: A key is unknown or a value is of the wrong kind.
    """
    options = _build(Options, values, where="")
    assert isinstance(options, Options)
    return options


def _build(kind: Any, values: object, *, where: str) -> Any:
    """One dataclass from a mapping; `where` is the dotted name of the group, for messages."""
    if not isinstance(values, Mapping):
        raise UsageError(f"{where or 'options'} must be a group of options, not {_short(values)}")
    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            raise UsageError(
                f"unknown option {_dotted(where, key)!r}",
                hint=f"did you mean {_dotted(where, close[0])!r}?" if close else "remove it",
            )
    return kind(
        **{key: _value(hints[key], v, where=_dotted(where, key)) for key, v in values.items()}
    )


def _value(kind: Any, value: Any, *, where: str) -> Any:
    """A value of a field, checked against the type of the field."""
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where=where)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inner:
            return None
        kind = next(k for k in inner if k is not type(None))
        return _value(kind, value, where=where)
    if origin is Literal:
        if value in inner:
            return value
        raise _wrong(where, value, "one of " + ", ".join(map(str, inner)))
    if origin is tuple:
        if inner[1:] == (...,) and isinstance(value, list | tuple):
            inner = (inner[0],) * len(value)
        if isinstance(value, list | tuple) and len(value) == len(inner):
            pairs = zip(inner, value, strict=True)
            return tuple(_value(k, v, where=where) for k, v in pairs)
        raise _wrong(where, value, f"{len(inner)} values")
    return _plain(kind, value, where=where)


def _plain(kind: Any, value: Any, *, where: str) -> Any:
    """A bool, int, float or str; JSON writes 3.0 as 3, so an int is a float where one is due."""
    if kind is float and type(value) is int and abs(value) < _LARGEST:
        return float(value)
    if type(value) is kind:
        return value
    raise _wrong(where, value, f"a value of type {kind.__name__}")


def _wrong(where: str, value: object, wanted: str) -> UsageError:
    return UsageError(f"option {where!r} is {_short(value)}", hint=f"give {wanted}")


def _short(value: object) -> str:
    """A value of a file in a few words, for people."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _dotted(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key
