"""A binary glTF 2.0 file, written piece by piece: arrays go to the disk as they come.

Source: Khronos, glTF 2.0 specification, sections 3.6 (buffers), 3.11 (animations), 4.4 (GLB).
"""

from __future__ import annotations

import json
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from scipy.spatial.transform import Rotation

from align3r.errors import UsageError

POINTS, LINES = 0, 1
"""Modes of a primitive."""
MAX_BYTES = 2**32 - 1
"""Lengths in a GLB file are 32-bit numbers."""

_COMPONENT = {"f4": 5126, "u2": 5123, "u1": 5121, "u4": 5125}
_TYPE = {(): "SCALAR", (3,): "VEC3", (4,): "VEC4"}
_VERTEX_BUFFER = 34962


class Gltf:
    """The tables of a glTF file, and the file that its arrays wait in."""

    def __init__(self, data: IO[bytes]) -> None:
        self._data = data
        self.tables: dict[str, list[dict[str, Any]]] = {}

    def add(self, table: str, **entry: Any) -> int:
        """Append an entry to a top-level table ("nodes", "meshes" ...); its number."""
        rows = self.tables.setdefault(table, [])
        rows.append({key: value for key, value in entry.items() if value is not None})
        return len(rows) - 1

    def accessor(
        self,
        array: np.ndarray,
        *,
        bounds: bool = False,
        normalized: bool = False,
        vertices: bool = False,
    ) -> int:
        """Append an array (P,), (P, 3) or (P, 4), P > 0; the number of its accessor.

        Args:
            array: float32, or uint16 with rows of 8 bytes.
            bounds: Note the extremes, as positions and key times need it.
            normalized: Integers stand for 0 to 1.
            vertices: The array is a vertex attribute.
        """
        kept = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        extremes = {}
        if bounds:
            # As doubles these are exactly the float32 extremes, which validators compare.
            low, high = np.atleast_1d(kept.min(axis=0)), np.atleast_1d(kept.max(axis=0))
            extremes = {"min": low.astype(float).tolist(), "max": high.astype(float).tolist()}
        view = self.add(
            "bufferViews",
            buffer=0,
            byteOffset=self._append(kept.tobytes()),
            byteLength=kept.nbytes,
            target=_VERTEX_BUFFER if vertices else None,
        )
        return self.add(
            "accessors",
            bufferView=view,
            componentType=_COMPONENT[kept.dtype.str[1:]],
            normalized=normalized or None,
            count=len(kept),
            type=_TYPE[kept.shape[1:]],
            **extremes,
        )

    def mesh(
        self, name: str, positions: np.ndarray, colours: np.ndarray, *, mode: int, material: int
    ) -> int:
        """Append points or lines with (P, 3) float32 positions and (P, 3) uint8 sRGB colours."""
        attributes = {
            "POSITION": self.accessor(positions.astype(np.float32), bounds=True, vertices=True),
            "COLOR_0": self.accessor(linear_rgba(colours), normalized=True, vertices=True),
        }
        primitive = {"attributes": attributes, "mode": mode, "material": material}
        return self.add("meshes", name=name, primitives=[primitive])

    def node(self, name: str, **entry: Any) -> int:
        """Append a node."""
        return self.add("nodes", name=name, **entry)

    def _append(self, data: bytes) -> int:
        offset = self._data.tell()
        self._data.write(data + bytes(-len(data) % 4))
        return offset


@contextmanager
def glb_file(path: Path, *, asset: dict[str, Any], extensions: list[str]) -> Iterator[Gltf]:
    """Give an empty `Gltf`; when the block ends well, the file is written.

    Args:
        path: The file. Its folder holds the arrays in the meantime.
        asset: Who wrote it, and `extras`.
        extensions: Names of the extensions in use; none may be required.

    Raises:
        UsageError: The file would be larger than the format allows.
        OSError: The file cannot be written.
    """
    with tempfile.TemporaryFile(dir=path.parent) as data:
        gltf = Gltf(data)
        yield gltf
        length = data.tell()
        about: dict[str, Any] = {"asset": {"version": "2.0", **asset}, "scene": 0, **gltf.tables}
        if extensions:
            about["extensionsUsed"] = extensions
        if length:
            about["buffers"] = [{"byteLength": length}]
        text = json.dumps(about, separators=(",", ":"), allow_nan=False).encode()
        text += b" " * (-len(text) % 4)
        total = 12 + 8 + len(text) + (8 + length if length else 0)
        if total > MAX_BYTES:
            raise UsageError(
                f"{path.name} would have {total / 1e9:.1f} GB, a GLB file ends at 4.3 GB",
                hint="use a smaller --max-points",
            )
        data.seek(0)
        with path.open("wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, total))
            file.write(struct.pack("<I4s", len(text), b"JSON") + text)
            if length:
                file.write(struct.pack("<I4s", length, b"BIN\0"))
                shutil.copyfileobj(data, file, 1 << 20)


def linear_rgba(colours: np.ndarray) -> np.ndarray:
    """(P, 4) uint16 linear RGBA of (P, 3) uint8 sRGB: glTF's vertex colours are linear.

    16 bits, because 8 linear ones do not tell dark colours apart; with alpha, because the rows
    of a vertex attribute begin at multiples of four bytes.
    """
    srgb = np.arange(256) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    table = np.round(linear * 65535).astype(np.uint16)
    opaque = np.full((len(colours), 1), 65535, np.uint16)
    return np.hstack([table[colours], opaque])


def placed(pose: np.ndarray) -> dict[str, list[float]]:
    """A pose as the fields of a node; a node that is animated must not have a matrix."""
    quat_xyzw = Rotation.from_matrix(pose[:3, :3]).as_quat()
    return {"translation": pose[:3, 3].tolist(), "rotation": quat_xyzw.tolist()}
