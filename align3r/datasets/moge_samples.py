"""Evaluation samples of MoGe (Wang et al. 2025): folders of one image, depth and camera each."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from align3r.datasets.depth_sample import DepthSample
from align3r.datasets.files import check_sequence, check_size, read_uint16, reading
from align3r.datasets.listed import listed
from align3r.datasets.pinholes import pinhole
from align3r.io.files import parse_json, read_json, read_text
from align3r.io.images import decode, read_rgb
from align3r.io.png_text import read_png_text

_INDEX = ".index.txt"
_INFINITE = 65535
_LEVELS = 65533
"""Steps of the logarithmic code, from 1 to 65534."""


def names(root: Path) -> list[str]:
    """The samples that the index of a root lists, sorted; none where there is no index.

    Raises:
        InputError: The index is damaged, or samples that it lists are missing.
    """
    index = root / _INDEX
    if not index.exists():
        return []
    with reading(index):
        lines = {line.strip().strip("/") for line in read_text(index).splitlines()} - {""}
    found = sorted(lines)
    listed(root, found, f"samples of {_INDEX}")
    return found


def read(root: Path, name: str) -> DepthSample:
    """One sample: `image.jpg`, `depth.png`, `meta.json` and, where there is one,
    `segmentation.png`.

    Raises:
        InputError: It is not there, or a file of it is missing or damaged.
    """
    check_sequence(name, names(root), root)
    folder = root / name
    image = read_rgb(folder / "image.jpg")
    size = (image.shape[1], image.shape[0])
    segmentation, labels = _read_segments(folder / "segmentation.png", size)
    return DepthSample(
        name=name,
        image=image,
        depth=_read_depth(folder / "depth.png", size),
        intrinsics=_read_intrinsics(folder / "meta.json", size),
        segmentation=segmentation,
        labels=labels,
    )


def _read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    levels = read_uint16(path, size)
    with reading(path):
        text = read_png_text(path)
        near, far = float(text["near"]), float(text["far"])
        unit = float(text.get("unit", "1"))
        if not (np.isfinite([near, far, unit]).all() and 0 < near <= far and unit > 0):
            raise ValueError(f"a depth from {near:g} to {far:g} in units of {unit:g}")
    x = (levels - 1.0) / _LEVELS
    with np.errstate(over="ignore"):
        depth = (near ** (1 - x) * far**x * unit).astype(np.float32)
    depth[levels == 0] = np.nan
    depth[levels == _INFINITE] = np.inf
    return depth


def _read_intrinsics(path: Path, size: tuple[int, int]) -> np.ndarray:
    """The file's are divided by the size, with the corner of the image at (0, 0)."""
    with reading(path):
        meta: Any = read_json(path)
        k = np.array(meta["intrinsics"], np.float64)
        if k.shape != (3, 3):
            raise ValueError(f"intrinsics of shape {k.shape}")
    k[:2] *= np.array(size)[:, None]
    k[:2, 2] -= 0.5
    return pinhole(k, path)


def _read_segments(
    path: Path, size: tuple[int, int]
) -> tuple[np.ndarray | None, Mapping[str, int]]:
    if not path.exists():
        return None, {}
    numbers = decode(path, cv2.IMREAD_UNCHANGED)
    with reading(path):
        if numbers.ndim != 2 or numbers.dtype.kind != "u":
            raise ValueError(f"it holds {numbers.dtype} of shape {numbers.shape}, not numbers")
        labels: Any = parse_json(read_png_text(path).get("labels", "{}"))
        if not isinstance(labels, dict):
            raise ValueError("its labels are no names with numbers")
        found = {name: int(number) for name, number in labels.items()}
    return check_size(numbers, size, path).astype(np.int32), found
