"""batch.json: what a batch was asked for and what became of it, so that the next call knows."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from align3r import __version__
from align3r.batch.values import State
from align3r.errors import InputError
from align3r.io.whole import disk_errors_in_words

NAME = "batch.json"
_FORMAT = "align3r-batch"
_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One video of the manifest."""

    out: str
    """Name of its folder beside the manifest."""
    key: str
    """Of the input and the options; see `results.key_of`."""
    state: State
    replaces: str | None = None
    """Digest of the result that is to be replaced; see `results.digest`."""
    exit_code: int = 0
    error: str = ""
    hint: str = ""
    frames: int | None = None
    seconds: float | None = None
    warnings: int = 0
    attempts: int = 0


@dataclass
class Manifest:
    """The videos of an output folder, by the path of their source."""

    folder: Path
    entries: dict[Path, Entry] = field(default_factory=dict)

    @staticmethod
    def read(folder: Path) -> Manifest:
        """The manifest of a folder; an empty one where there is none.

        Raises:
            InputError: It is there and cannot be read, or is something else.
        """
        path = folder / NAME
        if not path.exists():
            return Manifest(folder)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            if (found["format"], found["version"]) != (_FORMAT, _VERSION):
                raise ValueError(f"format {found['format']!r}, version {found['version']!r}")
            entries = {Path(source): _entry(row) for source, row in found["videos"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(
                f"{path} is not the manifest of a batch of this align3r: {error}",
                hint="choose another folder with -o, or remove the file: what is done is kept",
            ) from error
        return Manifest(folder, entries)

    def put(self, entries: dict[Path, Entry]) -> None:
        """Add or replace entries; the file is there whole, before or after, whatever happens.

        Raises:
            InputError: The folder cannot be written, or there is no space left.
        """
        self.entries |= entries
        about = {
            "format": _FORMAT,
            "version": _VERSION,
            "align3r": __version__,
            "videos": {str(source): asdict(entry) for source, entry in self.entries.items()},
        }
        path = self.folder / NAME
        part = path.with_name(f".{NAME}.part")
        with disk_errors_in_words(path):
            with part.open("w", encoding="utf-8") as file:
                json.dump(about, file, indent=1, allow_nan=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "State": (str,),
    "str | None": (str, type(None)),
    "int | None": (int, type(None)),
    "float | None": (float, int, type(None)),
}


def _entry(row: dict[str, Any]) -> Entry:
    """An entry from JSON; a name that is a path would lead out of the folder.

    Raises:
        ValueError: A value is of the wrong kind.
        TypeError: A key is missing or unknown.
    """
    entry = Entry(**row)
    for item in fields(Entry):
        value = getattr(entry, item.name)
        if not isinstance(value, _KINDS[str(item.type)]):
            raise ValueError(f"{item.name} is {value!r}")
    if entry.state not in ("todo", "done", "failed"):
        raise ValueError(f"state is {entry.state!r}")
    if entry.out in ("", ".", "..") or Path(entry.out).name != entry.out:
        raise ValueError(f"out is {entry.out!r}")
    return entry
