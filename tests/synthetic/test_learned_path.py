"""What follows a pair network, behind one that knows the truth: fit, flow, motion, alignment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from align3r import pipeline, prediction, solving
from align3r.config import InputOptions, Options, OutputOptions
from align3r.datasets.truth import Truth
from align3r.datasets.truth_files import read_truth
from align3r.evaluate.metrics import mask_iou
from align3r.evaluate.score import score
from align3r.geometry.cameras import image_centre, rays, resize_intrinsics
from align3r.io.storage import Storage
from align3r.pairwise.predictor import PairJournal
from align3r.types import (
    Frames,
    KnownCameras,
    MonoDepth,
    PairPredictions,
    Progress,
    Solution,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Oracle:
    """Answers pairs from the truth, each in a scale of its own and with a little smooth error."""

    name = "oracle"

    def __init__(self, truth: Truth) -> None:
        self.truth = truth

    def predict(
        self,
        frames: Frames,
        edges: np.ndarray,
        *,
        known: KnownCameras,
        mono: MonoDepth | None = None,
        moving: np.ndarray | None = None,
        progress: Progress | None = None,
        journal: PairJournal | None = None,
        storage: Storage | None = None,
    ) -> PairPredictions:
        rng = np.random.default_rng(0)
        width, height = frames.size
        aspect = width / frames.source_size[0] / (height / frames.source_size[1])
        points = np.empty((len(edges), 2, height, width, 3), np.float16)
        for row, (i, j) in enumerate(edges.tolist()):
            i_from_j = np.linalg.inv(self._pose(frames, i)) @ self._pose(frames, j)
            scale = rng.uniform(0.5, 2.0)
            points[row, 0] = scale * self._own(frames, i, rng)
            # As a network does, it takes the pixels of a stretched frame for square.
            upright = self._own(frames, j, rng) * [1.0, aspect, 1.0]
            seen = upright @ i_from_j[:3, :3].T + i_from_j[:3, 3]
            points[row, 1] = scale * seen / [1.0, aspect, 1.0]
        confidence = torch.full(points.shape[:-1], 3.0, dtype=torch.float16)
        centre = image_centre(frames.size)
        return PairPredictions(edges, torch.from_numpy(points), confidence, centre)

    def _pose(self, frames: Frames, k: int) -> np.ndarray:
        return np.asarray(self.truth.world_from_cam[frames.index[k]])

    def _own(self, frames: Frames, k: int, rng: np.random.Generator) -> np.ndarray:
        """(h, w, 3) points of a frame in its own camera, wrong by about 2 %."""
        width, height = frames.size
        number = int(frames.index[k])
        depth = self.truth.depth(number).astype(np.float32)
        steps = [
            self.truth.depth_stride * w / s
            for w, s in zip(frames.size, frames.source_size, strict=True)
        ]
        u, v = np.meshgrid(np.arange(width), np.arange(height))
        at = [np.rint(a / step).astype(np.float32) for a, step in zip((u, v), steps, strict=True)]
        depth = cv2.remap(depth, at[0], at[1], cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        bump = cv2.resize(rng.normal(0, 0.02, (3, 4)).astype(np.float32), (width, height))
        inner = resize_intrinsics(self.truth.intrinsics[number], frames.source_size, frames.size)
        rays_of_frame = rays((height, width), inner[0, 0], image_centre(frames.size))
        return np.asarray(depth * (1 + bump))[..., None] * rays_of_frame


@pytest.mark.parametrize("size", [256, 208], ids=["as it is", "stretched by 8 %"])
def test_the_pipeline_behind_a_network_that_is_right(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = read_truth(EXAMPLES / "clip_truth.npz")
    monkeypatch.setattr(pipeline, "fetch_weights", lambda options: None)
    monkeypatch.setattr(prediction, "make_predictor", lambda options: Oracle(truth))
    options = Options(
        model="dust3r",
        device="cpu",
        input=InputOptions(size=size, max_frames=12),
        output=OutputOptions(html=False, pictures=False),
    )
    guesses = first_guesses(monkeypatch)
    scene = pipeline.reconstruct(str(EXAMPLES / "clip.mp4"), options=options)
    found = score(scene, truth)
    np.testing.assert_allclose(scene.intrinsics[:, 1, 1], scene.intrinsics[:, 0, 0], rtol=1e-6)
    assert found["ate_percent"] < 1
    assert abs(found["focal_error_percent"]) < 1
    assert found["abs_rel_static"] < 0.015 and found["abs_rel_moving"] < 0.015
    # The last frames are in one pair each, across which DIS loses what moves: there the solved
    # cameras and the images have to say it.
    assert found["mask_iou"] > 0.72
    assert found["mask_iou"] > 0.1 + iou_at_source_size(guesses[0], scene.frame_index, truth)


def first_guesses(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """What is taken to move before anything is solved, noted when it is looked at again."""
    guesses, look = list[np.ndarray](), solving.see_motion_again

    def noted(solution: Solution, found: PairPredictions, *rest: Any, **more: Any) -> np.ndarray:
        assert found.moving is not None
        guesses.append(found.moving)
        return look(solution, found, *rest, **more)

    monkeypatch.setattr(solving, "see_motion_again", noted)
    return guesses


def iou_at_source_size(masks: np.ndarray, numbers: np.ndarray, truth: Truth) -> float:
    assert truth.moving is not None
    grown = [
        cv2.resize(m.astype(np.uint8), truth.size, interpolation=cv2.INTER_NEAREST) for m in masks
    ]
    return mask_iou(np.stack([truth.moving(int(k)) for k in numbers]), np.stack(grown) > 0)
