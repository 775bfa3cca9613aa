"""Ego flow and motion evidence against the numbers of the paper's code.

Ours divides by the depth itself; the reference adds 1e-6 to the depth before and after the motion.
Near the camera that is a relative 1e-6 of pixels up to a few hundred: they agree to 1e-3 px.

The reference's mask rule (min-max of each pair, mean, 0.35) lives here only, as a twin.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from align3r.flow.warp import consistent
from align3r.geometry.cameras import ego_flow
from align3r.motion.ego_motion import moving_masks
from align3r.types import PairFlows, PairPredictions

FOLDER = Path(__file__).parent / "aligner"
EGO = np.load(FOLDER / "ego_flow.npz")
MASK = np.load(FOLDER / "motion_mask.npz")
TOLERANCE_PX = 1e-3
CENTRE = (24.0, 16.0)


def rigid(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation.ravel()
    return pose


def errors_px() -> tuple[np.ndarray, np.ndarray]:
    """(6, h, w) each: what the seen flow misses the ego flow by, in view i and in view j."""
    errors: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    seen = MASK["flow_ij"], MASK["flow_ji"]
    for pair in range(6):
        for view in (0, 1):
            other = 1 - view
            poses, focals = MASK["pv_poses"][pair], MASK["pv_focals"][pair]
            flow, in_front = ego_flow(
                1 / MASK["pv_depth"][pair, view],
                np.linalg.inv(poses[other].astype(np.float64)) @ poses[view],
                float(focals[view]),
                CENTRE,
                target_focal=float(focals[other]),
            )
            assert in_front.all()
            errors[view].append(
                np.linalg.norm(flow - np.moveaxis(seen[view][pair], 0, -1), axis=-1)
            )
    return np.stack(errors[0]), np.stack(errors[1])


def mean_of_normalised(errors: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """(4, h, w) mean over the pairs of a frame, each stretched between its extremes."""
    of_frame: list[list[np.ndarray]] = [[] for _ in range(4)]
    for pair, frames in enumerate(MASK["edges"][:6]):
        for view in (0, 1):
            error = errors[view][pair]
            stretched = (error - error.min()) / (error.max() - error.min())
            of_frame[frames[view]].append(stretched)
    return np.stack([np.mean(maps, 0) for maps in of_frame])


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_ego_flow() -> None:
    for k in range(3):
        source = rigid(EGO["src_R"][k], EGO["src_t"][k])
        target = rigid(EGO["tgt_R"][k], EGO["tgt_t"][k])
        k_source, k_target = EGO["src_K"][k], EGO["tgt_K"][k]
        flow, in_front = ego_flow(
            1 / EGO["src_depth"][k],
            np.linalg.inv(target) @ source,
            float(k_source[0, 0]),
            (float(k_source[0, 2]), float(k_source[1, 2])),
            target_focal=float(k_target[0, 0]),
            target_centre=(float(k_target[0, 2]), float(k_target[1, 2])),
        )
        assert in_front.all()
        expected = np.moveaxis(EGO["ego_flow"][k, :2], 0, -1)
        assert np.abs(expected).max() > 1
        np.testing.assert_allclose(flow, expected, atol=TOLERANCE_PX)


def test_disagreement_in_pixels_of_every_pair() -> None:
    in_i, in_j = errors_px()
    np.testing.assert_allclose(in_i, MASK["err_px_i"], atol=TOLERANCE_PX)
    np.testing.assert_allclose(in_j, MASK["err_px_j"], atol=TOLERANCE_PX)


def test_the_rule_of_the_reference_gives_its_mask() -> None:
    mean = mean_of_normalised(errors_px())
    np.testing.assert_allclose(mean, MASK["err_norm_mean"], atol=1e-3)
    agreed = (mean > float(MASK["thre"])) == MASK["mask"]
    clear = np.abs(MASK["err_norm_mean"] - float(MASK["thre"])) > 1e-3
    assert agreed[clear].all()
    assert clear.mean() > 0.99


@pytest.mark.parametrize("validity", ["everywhere", "there and back"])
def test_our_masks_are_nearer_to_the_truth(validity: str) -> None:
    predictions = PairPredictions(
        MASK["edges"].astype(np.int64),
        torch.from_numpy(np.stack([MASK["X_i"], MASK["X_j"]], 1)),
        torch.from_numpy(np.stack([MASK["C_i"], MASK["C_j"]], 1)),
        CENTRE,
    )
    there = np.moveaxis(np.concatenate([MASK["flow_ij"], MASK["flow_ji"]]), 1, -1)
    back = np.roll(there, 6, 0)  # the mirrored pairs follow in the same order
    valid = np.ones((2, *there.shape[:3]), bool)
    if validity == "there and back":
        ways = zip((there, back), (back, there), strict=True)
        valid = np.stack([[consistent(a, b) for a, b in zip(*way, strict=True)] for way in ways])
    flows = PairFlows(predictions.edges, there, back, *valid)
    ours = moving_masks(predictions, flows, 4, 6.0)
    assert 0.1 + iou(MASK["mask"], MASK["gt_dynamic"]) < iou(ours, MASK["gt_dynamic"])
