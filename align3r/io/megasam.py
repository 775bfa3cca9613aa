"""MegaSaM's npz, for programs that read it: `images`, `depths`, `intrinsic`, `cam_c2w`."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from align3r.export_options import ExportOptions
from align3r.io.export_frames import export_frames
from align3r.io.zips import write_npz
from align3r.reconstruction import Reconstruction

log = logging.getLogger(__name__)

NEAR, FAR = 1e-3, 1e2
"""Depths are clipped to this."""


def write_megasam(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    """Write `images` uint8 (N, H, W, 3), `depths` float16 (N, H, W), `intrinsic` (3, 3) and
    `cam_c2w` (N, 4, 4), float64.

    Images have the working size unless source images are asked for: everything is in one file.
    OpenCV axes; the centre of the top-left pixel is (0, 0); unknown depth is nan.

    Raises:
        UsageError: Full-size images are asked for and not to be had.
        InputError: The source is another one than that of the scene.
        OSError: The file cannot be written.
    """
    if options.images == "auto" and options.source is None:
        options = replace(options, images="working")
    frames = export_frames(scene, options)
    n, (width, height) = len(frames), frames.size
    k = np.median(frames.intrinsics, axis=0)
    spread = float(np.abs(frames.intrinsics[:, 0, 0] / k[0, 0] - 1).max())
    if spread > 1e-3:
        log.warning(
            "the focal length changes by up to %.1f %%, and this format holds one: %.1f pixels",
            100 * spread,
            k[0, 0],
        )
    clipped = [0, 0]

    def depth(i: int) -> np.ndarray:
        values = frames.depth(i)
        with np.errstate(invalid="ignore"):
            clipped[0] += int((values > FAR).sum())
        clipped[1] += int(np.isfinite(values).sum())
        return np.asarray(np.clip(values, NEAR, FAR))

    write_npz(
        path,
        {
            "images": ((n, height, width, 3), np.dtype(np.uint8), frames.images()),
            "depths": ((n, height, width), np.dtype("<f2"), (depth(i) for i in range(n))),
            "intrinsic": k,
            "cam_c2w": np.asarray(scene.world_from_cam, np.float64),
        },
    )
    if clipped[0]:
        log.warning(
            "%.1f %% of the depth is beyond %g units, and clipped to that by this format",
            100 * clipped[0] / clipped[1],
            FAR,
        )
