"""From the depth of every frame to the point maps of every pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import DTypeLike

from align3r.geometry.cameras import rays
from align3r.io.storage import Storage
from align3r.pairwise.geometric.calibrate import CalibratedScene
from align3r.pairwise.geometric.completion import complete, place_objects
from align3r.pairwise.geometric.depth import FusedDepth, PixelModel, miss
from align3r.pairwise.geometric.frames_depth import GuidedFlows, trust
from align3r.pairwise.geometric.kept import PerFrame
from align3r.pairwise.predictor import empty_predictions
from align3r.parallel import in_threads
from align3r.types import PairFlows, PairPredictions

_GAIN = 25.0
"""Confidence of a well triangulated pixel; comparable to what the networks give."""
_GUESS = 1.03
"""Confidence of a pixel that is filled in: dense, but with next to no say."""
_PAIR_SHARE = 0.5
_PAIR_RELATIVE_ERROR = 0.03
_PAIR_MISS_PX = 1.5


@dataclass(frozen=True)
class DenseDepth:
    """Depth of one frame at every pixel."""

    inverse_depth: np.ndarray
    """(h, w) float32, > 0."""
    trust: np.ndarray
    """(h, w) float32 from 0 (filled in) to 1 (triangulated)."""


DENSE: dict[str, DTypeLike] = {"inverse_depth": np.float32, "trust": np.float32}
"""What a pixel of each field of it is."""


def dense_depths(
    images: np.ndarray, fused: PerFrame[FusedDepth], moving: np.ndarray, *, parallax: bool
) -> Iterator[DenseDepth]:
    """Complete what could not be triangulated; moving things stand in front of what they hide."""

    def one(i: int) -> DenseDepth:
        image, frame, mask = images[i], fused[i], moving[i]
        if not parallax:
            return DenseDepth(frame.inverse_depth, np.zeros(mask.shape, np.float32))
        # The flow of a moving thing bleeds over its border.
        around = _dilate(mask, 2)
        believed = trust(frame) * ~around
        filled = complete(image, frame.inverse_depth, believed)
        return DenseDepth(place_objects(filled, around), believed)

    return in_threads(one, range(len(images)))


def _dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask.astype(np.uint8), kernel) > 0)


def answer_pairs(
    asked: PairFlows,
    scene: CalibratedScene,
    flows: GuidedFlows,
    depths: PerFrame[DenseDepth],
    *,
    moving: np.ndarray,
    storage: Storage | None = None,
) -> PairPredictions:
    """Point maps and confidences of all pairs whose flows are asked for, with these flows."""
    height, width = moving.shape[1:]
    edges = asked.edges
    points, confidence = empty_predictions(len(edges), (height, width), storage)
    cameras = scene.cameras
    model = PixelModel(cameras.focal, cameras.centre)
    view_rays = rays((height, width), cameras.focal, cameras.centre)

    def answer(k: int) -> None:
        i, j = edges[k].tolist()
        for side, (a, b) in enumerate(((i, j), (j, i))):
            inverse_depth, sure = _pair_depth(flows, depths, (a, b), model)
            in_a = view_rays / inverse_depth[..., None]
            i_from_a = cameras.cam_from_world[i] @ np.linalg.inv(cameras.cam_from_world[a])
            in_i = in_a @ i_from_a[:3, :3].T.astype(np.float32) + i_from_a[:3, 3].astype(np.float32)
            points[k, side] = torch.from_numpy(np.clip(in_i, -6e4, 6e4))
            confidence[k, side] = torch.from_numpy(_GUESS + _GAIN * sure)

    for _ in in_threads(answer, range(len(edges))):
        pass
    return PairPredictions(
        edges,
        points,
        confidence,
        cameras.centre,
        moving=moving,
        flows=asked,
        warnings=scene.warnings,
        world_from_cam=None if scene.parallax else np.linalg.inv(cameras.cam_from_world),
    )


def _pair_depth(
    flows: GuidedFlows, depths: PerFrame[DenseDepth], pair: tuple[int, int], model: PixelModel
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse depth of the pair's first frame as the pair sees it, and how sure it is, 0 to 1.

    What the pair alone triangulates is drawn half way to what the whole video says; where the
    pair says nothing, the video's word is taken at a quarter of its weight.
    """
    depth = depths[pair[0]]
    evidence = flows.evidence(*pair, model)
    alone = -evidence.b / np.maximum(evidence.a, 1e-9)
    near = np.maximum(alone, 1e-6)
    relative_error = 1 / (near * np.sqrt(np.maximum(evidence.a, 1e-12)))
    reliable = (
        evidence.valid
        * (alone > 0)
        / (1 + (relative_error / _PAIR_RELATIVE_ERROR) ** 2)
        / (1 + (miss(evidence, depth.inverse_depth) / _PAIR_MISS_PX) ** 2) ** 2
    )
    share = _PAIR_SHARE * reliable * depth.trust
    blended = depth.inverse_depth + share * (alone - depth.inverse_depth)
    return np.maximum(blended, 1e-4).astype(np.float32), depth.trust * (0.25 + 0.75 * reliable)
