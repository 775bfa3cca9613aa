"""Portable float maps: what SceneFlow stores disparity and flow in (netpbm.sourceforge.net)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from align3r.errors import InputError
from align3r.io.files import check_pixels, read_bytes

_HEADER = re.compile(
    rb"(P[fF])\s+(\d{1,9})\s+(\d{1,9})\s+([-+]?[0-9.]{1,20}(?:[eE][-+]?\d{1,3})?)\s"
)


def read_pfm(path: Path) -> np.ndarray:
    """(H, W) or (H, W, 3) float32 of a .pfm file, the top row first.

    The number whose sign tells the order of the bytes is a scale by the format and never one in
    practice: values are as they are stored.

    Raises:
        InputError: It cannot be read, is cut short, too large, or something else.
    """
    data = read_bytes(path)
    header = _HEADER.match(data)
    if header is None:
        raise InputError(f"{path} is not a PFM file", hint="copy the file again")
    kind, width, height, scale = header.groups()
    size, channels = (int(width), int(height)), 3 if kind == b"PF" else 1
    check_pixels(path, size)
    wanted, found = 4 * channels * size[0] * size[1], len(data) - header.end()
    if found != wanted or not wanted:
        raise InputError(
            f"{path} has {found} bytes after its header, {size[0]}x{size[1]} pixels have {wanted}",
            hint="copy the file again",
        )
    order = "<" if scale.startswith(b"-") else ">"
    values = np.frombuffer(data, f"{order}f4", offset=header.end())
    shape = (size[1], size[0], channels)[: 3 if channels > 1 else 2]
    return values.reshape(shape)[::-1].astype(np.float32)
