"""Options from JSON: any run can be repeated with `--config its/scene.json`, or options.json."""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from align3r.config import Options
from align3r.errors import InputError, UsageError
from align3r.io.files import read_json

_LARGEST = 10**300
"""More than that is no float, and counts nothing."""

AnyOptions = TypeVar("AnyOptions")


def read_options(path: Path, kind: type[AnyOptions] = Options) -> AnyOptions:  # type: ignore[assignment]
    """The options in a file that align3r wrote, or in a JSON file that holds options alone.

    Args:
        path: scene.json of a result, options.json of a training, or JSON.
        kind: Dataclass of all options, of which every group has a default.

    Raises:
        InputError: The file cannot be read or is no JSON.
        UsageError: It holds unknown options or values of the wrong kind.
    """
    hint = "give a scene.json" if kind is Options else "give the options.json of a training"
    try:
        found = read_json(path)
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}", hint=hint) from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} holds no options", hint=hint)
    if "format" in found:  # align3r wrote it
        if "options" not in found or found.get("kind", kind.__name__) != kind.__name__:
            raise UsageError(
                f"{path} has no options of this command in it", hint="give one that it wrote"
            )
        found = found["options"]
    return options_from_json(found, kind)


def options_from_json(
    values: Mapping[str, Any],
    kind: type[AnyOptions] = Options,  # type: ignore[assignment]
) -> AnyOptions:
    """Options from plain values; what is not mentioned keeps its default.

    Args:
        values: By name, groups as mappings.
        kind: Dataclass of all options, of which every group has a default.

    Raises:
        UsageError: A key is unknown or a value is of the wrong kind.
    """
    options: AnyOptions = _build(kind(), values, where="")
    return options


def _build(base: Any, values: object, *, where: str) -> Any:
    """A dataclass with some values changed; `where` is the dotted name of the group."""
    if not isinstance(values, Mapping):
        raise UsageError(f"{where or 'options'} must be a group of options, not {_short(values)}")
    hints = typing.get_type_hints(type(base))
    known = {field.name for field in dataclasses.fields(base)}
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            raise UsageError(
                f"unknown option {_dotted(where, key)!r}",
                hint=f"did you mean {_dotted(where, close[0])!r}?" if close else "remove it",
            )
    changed = {}
    for key, value in values.items():
        name, before = _dotted(where, key), getattr(base, key)
        # A group's defaults depend on whose group it is.
        is_group = dataclasses.is_dataclass(before)
        changed[key] = (
            _build(before, value, where=name) if is_group else _value(hints[key], value, where=name)
        )
    return dataclasses.replace(base, **changed)


def _value(kind: Any, value: Any, *, where: str) -> Any:
    """A value of a field, checked against the type of the field."""
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
    if type(value) is int and abs(value) > _LARGEST:
        raise _wrong(where, value, "a number that is smaller")
    if kind is float and type(value) is int:
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
