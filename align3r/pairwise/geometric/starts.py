"""Where structure from motion begins: pairs of frames that say much by themselves."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from align3r.pairwise.geometric.twoview import TwoView, or_nothing

_LOOKED_AT = 20
_LEAST_POINTS = 30


@dataclass(frozen=True)
class Start:
    """A pair of frames and its relative pose."""

    i: int
    j: int
    target_from_source: np.ndarray
    """(4, 4), unit translation."""
    focal: float
    """Focal length, in pixels, that the pose was found with."""


def start_pairs(views: list[TwoView], focal: float) -> list[Start]:
    """Pairs with many inliers, wide rays and depth relief; the best first."""
    usable = [v for v in views if v.fundamental is not None]
    usable.sort(key=lambda v: -float(v.inlier.sum()) * (1.05 - v.planar) * _spread(v, focal))
    scored = []
    for view in usable[:_LOOKED_AT]:
        pose, score = _essential_pose(view, focal)
        if pose is not None and score > 0:
            scored.append((score, Start(view.i, view.j, pose, focal)))
    return [start for _, start in sorted(scored, key=lambda pair: -pair[0])]


def _spread(view: TwoView, focal: float) -> float:
    """Typical displacement as an angle, up to ten degrees: more is not better."""
    move = np.median(np.linalg.norm(view.target - view.source, axis=-1))
    return float(min(np.degrees(move / focal), 10.0))


def _essential_pose(view: TwoView, focal: float) -> tuple[np.ndarray | None, float]:
    source, target = view.source / focal, view.target / focal
    cv2.setRNGSeed(0)
    essential, mask = or_nothing(
        cv2.findEssentialMat,
        source,
        target,
        np.eye(3),
        method=cv2.USAC_MAGSAC,
        prob=0.999,
        threshold=1.0 / focal,
    )
    if essential is None or essential.shape != (3, 3):
        return None, 0.0
    _, rotation, shift, mask = cv2.recoverPose(essential, source, target, np.eye(3), mask=mask)
    good = mask.ravel() > 0
    if good.sum() < _LEAST_POINTS:
        return None, 0.0
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, shift.ravel()
    rays = np.concatenate([source[good], np.ones((int(good.sum()), 1))], 1) @ rotation.T
    seen = np.concatenate([target[good], np.ones((int(good.sum()), 1))], 1)
    cosine = (rays * seen).sum(-1) / np.linalg.norm(rays, axis=-1) / np.linalg.norm(seen, axis=-1)
    angle = float(np.degrees(np.median(np.arccos(np.clip(cosine, -1, 1)))))
    return pose, float(good.sum()) * min(angle, 6.0)
