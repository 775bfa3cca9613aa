"""Monocular depth of a whole video: one pass, a batch of full-size maps in memory at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from itertools import islice

import cv2
import numpy as np

from align3r.errors import SolveError
from align3r.io.fitting import NetworkPlan, resized_size
from align3r.io.maps import upsample_depth
from align3r.io.priors import Kind, PriorMap, PriorMaps
from align3r.mono.network import DepthNetwork
from align3r.mono.point_map import fit_point_map, point_map
from align3r.progress import Report
from align3r.types import Frames, MonoDepth

log = logging.getLogger(__name__)

_RANGE = 100.0
"""Depth from disparity goes up to this many times the depth of what is near.

Disparity networks err by about a percent of the nearest disparity and leave its shift open, so
what they put below that percent is far away and nothing more.
"""
_ZERO = 1e-30
"""What is not above this is nothing but rounding, and its inverse may not be finite."""


def monocular_depth(
    images: Iterable[np.ndarray],
    frames: Frames,
    prior: DepthNetwork | PriorMaps,
    *,
    report: Report,
    network_kind: Kind | None = None,
) -> MonoDepth:
    """Depth and point map of every frame at the working size.

    Values are turned into point maps at the size of the source, as Align3R was trained.

    Args:
        images: The frames at the source size, (H, W, 3) uint8 RGB, in order; not looked at if the
            maps are the user's.
        frames: N frames.
        prior: A depth network, or the user's maps.
        report: Called as report("monocular depth", done, N).
        network_kind: What the pair network's point maps were made of when it was trained; values
            of the other kind are inverted first. None: as they are.

    Returns:
        Depth, up to a scale of each frame's own where the prior is not metric. From disparity it
        is 1 / disparity, although the networks leave a shift of disparity open, too: right in
        order and up close, a guess far away.

    Raises:
        SolveError: The network answers numbers that are not finite.
        InputError: A map, or a frame, cannot be read.
    """
    width, height = frames.size
    depth = np.empty((len(frames), height, width), np.float32)
    points = np.empty((len(frames), height, width, 3), np.float32)
    focals: list[float | None] = []
    answers = prior if isinstance(prior, PriorMaps) else _ask(prior, images)
    for i, answer in zip(range(len(frames)), answers, strict=True):
        if not np.isfinite(answer.values).all():
            raise SolveError(
                f"{prior.name} answers numbers that are not finite for frame {frames.index[i]}",
                hint="compute with more digits: --network.precision fp32",
            )
        z_depth = _z_depth(answer.values, prior.kind, number=int(frames.index[i]))
        # Sampled at the centres of the working pixels, larger or smaller, not averaged: an average
        # over an edge lies on neither surface, and these maps are too smooth to alias.
        depth[i] = upsample_depth(z_depth, frames.size)
        swept, kind = answer.values, prior.kind
        if network_kind is not None and network_kind != kind:
            swept = z_depth if network_kind == "depth" else 1 / z_depth
            kind = network_kind
        points[i] = _working_point_map(swept, kind, frames)
        focal = answer.focal
        focals.append(None if focal is None else focal * width / answer.values.shape[1])
        report("monocular depth", i + 1, len(frames))
    known = [focal for focal in focals if focal is not None]
    return MonoDepth(
        depth=depth,
        point_maps=points,
        focal=np.array(known, np.float64) if len(known) == len(frames) else None,
        is_metric=prior.is_metric,
        name=prior.name,
    )


def _ask(network: DepthNetwork, images: Iterable[np.ndarray]) -> Iterator[PriorMap]:
    stream = iter(images)
    while batch := list(islice(stream, network.batch)):
        yield from network(batch)


def _z_depth(values: np.ndarray, kind: Kind, *, number: int) -> np.ndarray:
    """Finite z-depth > 0, of the shape of the values."""
    positive = values[values > _ZERO]
    if not positive.size:
        log.warning("nothing is known of the depth of frame %d: it is taken as flat", number)
        return np.ones_like(values)
    if kind == "depth":
        # The filter that enlarges a network's answer overshoots, even to below zero.
        near = float(np.percentile(positive, 1))
        return np.asarray(np.maximum(values, near / _RANGE), np.float32)
    near = 1 / float(np.percentile(positive, 99))
    return np.asarray(1 / np.maximum(values, 1 / (_RANGE * near)), np.float32)


def _working_point_map(values: np.ndarray, kind: Kind, frames: Frames) -> np.ndarray:
    """The point map of values of any resolution, made at the source size, as training did."""
    if kind == "depth":
        values = upsample_depth(values, frames.source_size)
    elif values.shape[::-1] != frames.source_size:
        values = cv2.resize(values, frames.source_size, interpolation=cv2.INTER_LINEAR)
    plan = NetworkPlan(resized_size(frames.source_size, max(frames.size)), frames.size)
    return fit_point_map(point_map(values), plan)
