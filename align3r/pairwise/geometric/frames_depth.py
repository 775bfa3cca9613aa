"""Depth of every frame: first from the survey's flows, then from flows guided by that depth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from align3r.flow.dis import DisFlow
from align3r.flow.pairs import empty_flows
from align3r.flow.warp import consistent, pixel_grid
from align3r.geometry.cameras import ego_flow
from align3r.io.storage import Storage
from align3r.pairwise.geometric.bundle import Cameras
from align3r.pairwise.geometric.completion import complete
from align3r.pairwise.geometric.depth import (
    Evidence,
    FusedDepth,
    PixelModel,
    flat,
    fuse,
    pair_evidence,
)
from align3r.pairwise.geometric.survey import STEP, Survey, bridges
from align3r.parallel import in_threads
from align3r.types import PairFlows

_LEAST_OVERLAP = 0.1
_GOOD_RELATIVE_ERROR = 0.04


@dataclass(frozen=True)
class CoarseDepth:
    """First depth of a frame, at every second pixel."""

    inverse_depth: np.ndarray
    """(h/2, w/2) float32, completed."""
    miss_px: np.ndarray
    """(h/2, w/2) float32 full-size pixels; nan where nothing is known."""


def trust(fused: FusedDepth) -> np.ndarray:
    """(h, w) from 0 to 1: well-conditioned, explained by the flows, seen twice where it can be."""
    conditioned = 1 / (1 + (fused.relative_error / _GOOD_RELATIVE_ERROR) ** 2)
    explained = 1 / (1 + np.nan_to_num(fused.miss_px, nan=1e3) ** 2)
    return np.asarray(conditioned * explained * fused.confirmed, np.float32)


def survey_depths(
    found: Survey, cameras: Cameras, images: np.ndarray, *, parallax: bool
) -> list[CoarseDepth]:
    """First depth of every frame from the survey's flows."""
    model = PixelModel(cameras.focal / STEP, (cameras.centre[0] / STEP, cameras.centre[1] / STEP))
    small = images[:, ::STEP, ::STEP]
    shape = small.shape[1:3]

    def one(i: int) -> CoarseDepth:
        pairs = [
            pair_evidence(kept.flow.astype(np.float32), kept.valid, _motion(cameras, i, j), model)
            for (a, j), kept in found.flows.items()
            if a == i
        ]
        if not pairs or not parallax:
            blank = flat(pairs, shape)
            return CoarseDepth(blank.inverse_depth, STEP * blank.miss_px)
        fused = fuse(pairs)
        filled = complete(small[i], fused.inverse_depth, trust(fused))
        return CoarseDepth(filled, STEP * fused.miss_px)

    return list(in_threads(one, range(len(small))))


def _motion(cameras: Cameras, i: int, j: int) -> np.ndarray:
    return np.asarray(cameras.cam_from_world[j] @ np.linalg.inv(cameras.cam_from_world[i]))


class GuidedFlows:
    """Flows of pairs in both directions, started from where the cameras and depths say."""

    def __init__(self, found: Survey, cameras: Cameras, coarse: list[CoarseDepth]) -> None:
        self._found, self._cameras, self._coarse = found, cameras, coarse
        self._kept: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = {}

    def compute(
        self,
        images: np.ndarray,
        asked: np.ndarray,
        *,
        on_pair: Callable[[int, int], None],
        storage: Storage | None = None,
    ) -> PairFlows:
        """Compute the pairs (E, 2), and short bridges that every frame's depth profits from.

        Each is computed once for both directions. Gives the flows of the pairs asked for.
        """
        shape = (images.shape[1], images.shape[2])
        flows = empty_flows(asked, shape, storage)
        between = empty_flows(bridges(asked, len(images)), shape, storage, item="survey")
        for part in (flows, between):
            for k, (i, j) in enumerate(part.edges.tolist()):
                forward = part.forward[k], part.forward_valid[k]
                self._kept.setdefault((i, j), []).append(forward)
                backward = part.backward[k], part.backward_valid[k]
                self._kept.setdefault((j, i), []).append(backward)
        todo = sorted({(min(p), max(p)) for p in self._kept})
        for done, _ in enumerate(in_threads(lambda pair: self._one(images, *pair), todo)):
            on_pair(done + 1, len(todo))
        return flows

    def _one(self, images: np.ndarray, i: int, j: int) -> None:
        start_ij = self._start(images.shape[1:3], i, j)
        start_ji = self._start(images.shape[1:3], j, i)
        if max(_inside(start_ij), _inside(start_ji)) < _LEAST_OVERLAP:
            nothing = np.zeros(images.shape[1:3], bool)
            self._keep(i, j, start_ij, nothing)
            self._keep(j, i, start_ji, nothing)
            return
        dis = DisFlow()
        there = dis(images[i], images[j], start=start_ij)
        back = dis(images[j], images[i], start=start_ji)
        self._keep(i, j, there, consistent(there, back))
        self._keep(j, i, back, consistent(back, there))

    def get(self, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
        """Flow (h, w, 2) float16 from i to j and where it is (h, w) valid."""
        return self._kept[i, j][0]

    def has(self, i: int, j: int) -> bool:
        """Whether the flow i -> j was computed."""
        return (i, j) in self._kept

    def evidence(self, i: int, j: int, model: PixelModel) -> Evidence:
        """What the flow i -> j says about the depth of i."""
        flow, valid = self.get(i, j)
        return pair_evidence(flow.astype(np.float32), valid, _motion(self._cameras, i, j), model)

    def _keep(self, i: int, j: int, flow: np.ndarray, valid: np.ndarray) -> None:
        for kept_flow, kept_valid in self._kept[i, j]:
            kept_flow[:], kept_valid[:] = np.clip(flow, -4096, 4096), valid

    def _start(self, shape: tuple[int, ...], i: int, j: int) -> np.ndarray:
        """Flow of the static scene; the surveyed one where that explains nothing: moving things."""
        height, width = shape[:2]
        coarse = self._coarse[i]
        inverse_depth = cv2.resize(coarse.inverse_depth, (width, height))
        cameras = self._cameras
        start, _ = ego_flow(inverse_depth, _motion(cameras, i, j), cameras.focal, cameras.centre)
        if (i, j) in self._found.flows:
            seen = self._found.flows[i, j].flow.astype(np.float32) * STEP
            odd = (np.nan_to_num(coarse.miss_px, nan=1e3) > 4).astype(np.float32)
            share = cv2.resize(cv2.GaussianBlur(odd, (0, 0), 2), (width, height))[..., None]
            start = (1 - share) * start + share * cv2.resize(seen, (width, height))
        reach = 2.0 * max(shape)
        return np.asarray(np.clip(start, -reach, reach), np.float32)


def _inside(flow: np.ndarray) -> float:
    height, width = flow.shape[:2]
    place = pixel_grid(height, width) + flow
    u, v = place[..., 0], place[..., 1]
    inside = (u >= 0) & (v >= 0) & (u < width) & (v < height)
    return float(inside.mean())
