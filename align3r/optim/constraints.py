"""Cameras that are known roughly: one more term of the objective."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from align3r.optim.state import State

POSE_WEIGHT = 0.01
"""Weight of the term: a camera known to 2 % of the depth then has about the say of its pairs."""


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
