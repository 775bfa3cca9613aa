"""Intrinsics from the files of a data set: pinhole cameras, or words that say why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from align3r.errors import InputError


def pinholes(k: np.ndarray, origin: Path) -> np.ndarray:
    """(N, 3, 3) float64 of as many intrinsics from a file, if each of them is a pinhole camera.

    Raises:
        InputError: One of them has no positive focal lengths, or another last row than 0 0 1.
    """
    k = np.asarray(k, np.float64)
    good = np.array([len(k) > 0 and k.shape[1:] == (3, 3)])
    if good.all():
        good = np.isfinite(k).all(axis=(1, 2)) & (k[:, 0, 0] > 0) & (k[:, 1, 1] > 0)
        good &= (k[:, 2] == [0, 0, 1]).all(axis=1) & (k[:, 1, 0] == 0)
    if not good.all():
        raise InputError(
            f"{int((~good).sum())} of the {len(k)} intrinsics of {origin} are no pinhole camera",
            hint="download the file again",
        )
    return k


def pinhole(k: np.ndarray, origin: Path) -> np.ndarray:
    """(3, 3) float64 of one camera; see `pinholes`.

    Raises:
        InputError: It is no pinhole camera.
    """
    one: np.ndarray = pinholes(np.asarray(k, np.float64)[None], origin)[0]
    return one
