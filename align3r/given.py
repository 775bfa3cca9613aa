"""What the user gives, read: frames, what is known of them, and the pairs to look at."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from align3r.config import Options
from align3r.io.cameras import open_cameras, read_known_cameras
from align3r.io.fitting import FitName
from align3r.io.masks import read_masks
from align3r.io.sources import Source, resolve_source
from align3r.io.video import read_frames
from align3r.pairing import build_pairs, choose_keyframes, find_loops
from align3r.pairwise.registry import MODELS
from align3r.progress import Report
from align3r.types import Frames, KnownCameras

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Given:
    """The input of one reconstruction."""

    source: Source
    """Where the frames are from."""
    frames: Frames
    """At the working size."""
    known: KnownCameras
    """In working pixels."""
    masks: np.ndarray | None
    """(N, h, w) bool, True = moving: the user's own."""
    edges: np.ndarray
    """(E, 2) int64 pairs of frames."""
    keyframes: np.ndarray
    """(K,) int64: the frame that stands for each group of frames."""


def read_given(source: Source, options: Options, *, fit: FitName, report: Report) -> Given:
    """Read frames, known cameras and masks, and choose the pairs.

    Raises:
        InputError: Something cannot be read or does not fit the frames.
        UsageError: Options that choose no frame or no pair.
    """
    cameras = open_cameras(options.camera, is_video=resolve_source(source).is_video)
    frames = read_frames(source, options.input, fit=fit, cameras=cameras.finder, progress=report)
    known = read_known_cameras(options.camera, frames, cameras)
    masks = read_masks(options.camera.masks, frames) if options.camera.masks else None
    keys = choose_keyframes(frames.images, options.pairs.group)
    # A video of one frame is its own pair.
    edges = np.zeros((1, 2), np.int64)
    if len(frames) > 1:
        loops = np.zeros((0, 2), np.int64)
        # A predictor that follows the whole video answers for such a pair from that alone.
        if not MODELS[options.model].finds_flow:
            images, pairs = frames.images, options.pairs
            loops = find_loops(
                images, pairs, keyframes=keys, on_pair=lambda k, n: report("loops", k, n)
            )
        if len(loops):
            log.info("%d pairs of frames far apart see the same place", len(loops))
        edges = build_pairs(len(frames), options.pairs, keyframes=keys, loops=loops)
    return Given(source, frames, known, masks, edges, keys)
