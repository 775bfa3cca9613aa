"""What is known of the cameras besides the pairs: poses, exact ones and rough ones."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from align3r.errors import UsageError
from align3r.optim.state import Fixed, State
from align3r.types import KnownCameras

POSE_WEIGHT = 7e-4
"""Weight of the term. The errors of a predictor are smooth, so its many pixels are worth few
independent ones; with this weight the result is better than the given poses and than a solve
without them over a wide range of standard deviations (1e-3 with flow, 3e-4 without would be best).
"""


@dataclass(frozen=True)
class RoughPoses:
    """Poses of F cameras with their standard deviations."""

    view: Tensor
    """(F,) number of the view."""
    world_from_cam: Tensor
    """(F, 4, 4) float64, in the unit of the known poses."""
    turn: Tensor
    """(F,) standard deviation of the rotation, radians."""
    place: Tensor
    """(F,) standard deviation of the position, in the unit of the known poses."""

    def part(self, number: np.ndarray) -> RoughPoses | None:
        """Those of the views that have a new number (N,) >= 0, renumbered."""
        view = torch.from_numpy(number).to(self.view.device)[self.view]
        keep = view >= 0
        if not keep.any():
            return None
        return RoughPoses(
            view[keep], self.world_from_cam[keep], turn=self.turn[keep], place=self.place[keep]
        )

    def misses(self, state: State) -> tuple[Tensor, Tensor]:
        """(F, 9) and (F, 3) how far cameras are from their given poses, in standard deviations.

        The length of the first is that of R_given^T R - I over sqrt 2: the angle, where it is
        small, and smooth everywhere.
        """
        given = self.world_from_cam.to(state.rotation)
        eye = torch.eye(3, dtype=given.dtype, device=given.device)
        turn = (given[:, :3, :3].mT @ state.rotation[self.view] - eye).flatten(1)
        place = state.translation[self.view] * (-state.log_unit).exp() - given[:, :3, 3]
        return turn / (2**0.5 * self.turn[:, None].to(turn)), place / self.place[:, None].to(place)


def rough_distance(state: State, rough: RoughPoses) -> Tensor:
    """Sum of sqrt(1 + x^2) - 1 over N, x the distance of a camera in standard deviations.

    Over all N cameras, not only the F given: a pose then weighs the same against the other
    terms, which are means, however many others are given.
    """
    turn, place = rough.misses(state)
    square = turn.square().sum(1) + place.square().sum(1)
    total: Tensor = ((1 + square).sqrt() - 1).sum() / len(state.focal)
    return total


def rough_poses(known: KnownCameras, device: torch.device) -> RoughPoses | None:
    """The poses that are known roughly; None where there are none.

    Raises:
        UsageError: A standard deviation is not a positive number.
    """
    if known.world_from_cam is None or known.pose_sigma is None:
        return None
    sigma = np.asarray(known.pose_sigma, np.float64)
    given = np.isfinite(known.world_from_cam).all(axis=(1, 2))
    view = np.flatnonzero(given & ~np.isnan(sigma).any(axis=1))
    bad = view[~(np.isfinite(sigma[view]) & (sigma[view] > 0)).all(axis=1)]
    if len(bad):
        turn, place = sigma[bad[0]]
        raise UsageError(
            f"the pose of frame {bad[0]} has standard deviations {turn:g} degrees, {place:g}",
            hint="both are positive; nan stands for a pose that is exact",
        )
    if len(view) == 0:
        return None
    poses = torch.from_numpy(np.asarray(known.world_from_cam, np.float64)[view]).to(device)
    turn, place = torch.from_numpy(sigma[view]).to(device).unbind(1)
    number = torch.from_numpy(view).to(device)
    return RoughPoses(number, poses, turn=turn * (math.pi / 180), place=place)


def anchors(fixed: Fixed, rough: RoughPoses | None) -> Fixed:
    """What is fixed, with the rough poses put in as if they were, too."""
    if rough is None:
        return fixed
    poses = fixed.world_from_cam.clone()
    poses[rough.view] = rough.world_from_cam.to(poses)
    return replace(fixed, world_from_cam=poses)


def near_origin(known: KnownCameras) -> tuple[KnownCameras, np.ndarray]:
    """The same poses with the mean of their positions at zero, and that mean (3,).

    The solve runs in float32, which tells cameras a metre apart no longer where positions are
    counted from a distant point, as in maps.
    """
    if known.world_from_cam is None or not np.isfinite(known.world_from_cam).any():
        return known, np.zeros(3)
    poses = np.array(known.world_from_cam, np.float64)
    given = np.isfinite(poses).all(axis=(1, 2))
    origin = poses[given, :3, 3].mean(axis=0)
    poses[:, :3, 3] -= origin
    return replace(known, world_from_cam=poses), origin
