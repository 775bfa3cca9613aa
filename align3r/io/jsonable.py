"""Any value of a scene as strict JSON: no nan, no numpy, no paths."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path, PurePath
from typing import Any

import numpy as np


def jsonable(value: Any) -> Any:
    """Turn dataclasses, arrays, paths and tuples into what JSON knows; not-finite into None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((jsonable(item) for item in value), key=str)
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no place in a JSON file")


def readable_json(value: Any) -> str:
    """The text of a file: two spaces, and lists of numbers on one line each.

    Raises:
        ValueError: A number is not finite.
    """
    text = json.dumps(value, indent=2, allow_nan=False)
    # No string holds a line break that is not escaped, nor is a list of strings changed.
    return re.sub(r"\[\n[^\[\]{}\"]*\]", lambda found: " ".join(found[0].split()), text) + "\n"


def write_json(value: Any, path: Path) -> None:
    """Write any value of a scene as JSON, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_text(readable_json(jsonable(value)), encoding="utf-8")
    scratch.replace(path)
