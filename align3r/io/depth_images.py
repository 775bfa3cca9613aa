"""Depth as 16-bit images, and what is told of depth that they cannot hold."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from align3r.export_options import ExportOptions
from align3r.io.png import write_depth_png
from align3r.reconstruction import Reconstruction

log = logging.getLogger(__name__)

LEVELS = 65535
"""Of 16 bits; 0 is kept for unknown depth."""
_FEW = 200
"""With fewer levels up to the median depth, rounding to 16 bits moves it by 0.25 % or more."""


def write_depth_pngs(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    """Fill a folder with one 16-bit PNG a frame, at the source size, and `depth.json`.

    Grey = z-depth * `depth_levels`, 0 = unknown. What is beyond 65535 levels is unknown, too: a far
    wall at the wrong place is worse than none.

    Raises:
        OSError: A file cannot be written.
    """
    levels = options.depth_levels
    beyond = known = 0
    medians = []
    for i in range(len(scene)):
        depth = scene.depth(i)
        there = np.isfinite(depth)
        known += int(there.sum())
        medians += [float(np.median(depth[there]))] if there.any() else []
        beyond += int((depth[there] * levels > LEVELS).sum())
        write_depth_png(within_range(depth, levels), path / f"{i:06d}.png", per_unit=levels)
    if beyond:
        log.warning(
            "%.1f %% of the depth is beyond %g units, which 16 bits at %g levels a unit do not "
            "hold: it is written as unknown; a smaller --depth-levels holds more",
            100 * beyond / known,
            LEVELS / levels,
            levels,
        )
    if medians and float(np.median(medians)) * levels < _FEW:
        log.warning(
            "the median depth is %.0f grey levels: a larger --depth-levels is more exact",
            float(np.median(medians)) * levels,
        )
    about = {
        "levels_per_unit": levels,
        "unknown": 0,
        "depth": "z, along the optical axis",
        "unit": "metres" if scene.in_metres else scene.scale,
    }
    (path / "depth.json").write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def within_range(depth: np.ndarray, levels: float) -> np.ndarray:
    """The depth (H, W), nan where 16 bits at so many levels a unit do not hold it."""
    with np.errstate(invalid="ignore"):
        return np.where(depth * levels <= LEVELS, depth, np.nan)


def fits_16_bits(depths: Iterator[np.ndarray], levels: float) -> bool:
    """Whether 16 bits hold all depths (H, W) with steps that are small beside the median."""
    medians = []
    for depth in depths:
        there = depth[np.isfinite(depth)]
        if not len(there):
            continue
        if there.max() * levels > LEVELS:
            return False
        medians.append(float(np.median(there)))
    return not medians or float(np.median(medians)) * levels >= _FEW
