"""COLMAP's binary tables, walked through before its reader is let near them.

That reader believes every count, and goes on at the end of the file: a damaged table keeps it busy
for hours, or takes all memory. Layouts: COLMAP, src/colmap/scene/reconstruction_io_binary.cc.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import IO

_LEAST_CAMERA = 24 + 3 * 8
_POSE = 7 * 8
_POINT = 8 + 8 + 8
_SENSOR = 4 + 4
_LONGEST_NAME = 4096


def check_tables(folder: Path) -> None:
    """Refuse binary tables that promise more than they hold; tables that are not there are fine.

    Raises:
        ValueError: One does; it is named.
        OSError: One cannot be read.
    """
    for name, walk in _WALKS.items():
        path = folder / f"{name}.bin"
        if not path.is_file():
            continue
        with path.open("rb") as file:
            table = _Table(file, path)
            count = table.number("<Q")
            if count > table.size:
                raise ValueError(f"{path.name} promises {count} entries in {table.size} bytes")
            walk(table, count)


class _Table:
    """A file that is read from its start, and never beyond its end."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self._file, self._name = file, path.name
        self.size = path.stat().st_size
        self._position = 0

    def number(self, layout: str) -> int:
        size = struct.calcsize(layout)
        self.skip(size)
        self._file.seek(self._position - size)
        return int(struct.unpack(layout, self._file.read(size))[0])

    def skip(self, size: int) -> None:
        self._position += size
        if self._position > self.size:
            raise ValueError(f"{self._name} is cut short, or its counts are not true")

    def skip_text(self) -> None:
        self._file.seek(self._position)
        length = self._file.read(_LONGEST_NAME).find(b"\0")
        if length < 0:
            raise ValueError(f"{self._name} has a name without an end")
        self.skip(length + 1)


def _cameras(table: _Table, count: int) -> None:
    table.skip(count * _LEAST_CAMERA)


def _images(table: _Table, count: int) -> None:
    for _ in range(count):
        table.skip(4 + _POSE + 4)
        table.skip_text()
        table.skip(table.number("<Q") * _POINT)


def _rigs(table: _Table, count: int) -> None:
    for _ in range(count):
        table.skip(4)
        sensors = table.number("<I")
        for k in range(sensors):
            table.skip(_SENSOR)
            # The first is the rig itself, and so has no pose in it.
            if k and table.number("<B"):
                table.skip(_POSE)


def _frames(table: _Table, count: int) -> None:
    for _ in range(count):
        table.skip(4 + 4 + _POSE)
        table.skip(table.number("<I") * (_SENSOR + 8))


_WALKS: dict[str, Callable[[_Table, int], None]] = {
    "cameras": _cameras,
    "images": _images,
    "rigs": _rigs,
    "frames": _frames,
}
