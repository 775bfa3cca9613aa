"""Where the anchors are, once cameras are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from align3r.pairwise.geometric.bundle import Cameras, anchor_rays, relative_poses, robust_weight
from align3r.pairwise.geometric.observations import Observations


def triangulate(cameras: Cameras, obs: Observations, *, rounds: int = 3) -> np.ndarray:
    """(A,) robust linear inverse depth of every anchor; 0 where no observation shows parallax."""
    inverse_depth = np.zeros(len(obs.anchor_frame))
    for _, part in obs.parts:
        first, end = int(part.anchor.min()), int(part.anchor.max()) + 1
        inverse_depth[first:end] = _triangulated(cameras, part, slice(first, end), rounds=rounds)
    return np.maximum(inverse_depth, 0.0)


def _triangulated(
    cameras: Cameras, part: Observations, anchors: slice, *, rounds: int
) -> np.ndarray:
    """Inverse depth of some anchors, all of whose observations are given."""
    rotation, shift = relative_poses(cameras, part)
    turned = np.einsum("mab,mb->ma", rotation, anchor_rays(cameras, part))
    seen = np.concatenate(
        [(part.pixel - cameras.centre) / cameras.focal, np.ones((len(part.pixel), 1))], 1
    )
    # The point turned + rho * shift is parallel to the ray seen; linear in rho.
    lever = np.cross(shift, seen)
    miss = np.cross(turned, seen)
    weight = np.ones(len(miss))
    at, count = part.anchor - anchors.start, anchors.stop - anchors.start
    for _ in range(rounds):
        top = np.bincount(at, -weight * (lever * miss).sum(-1), count)
        bottom = np.bincount(at, weight * (lever**2).sum(-1), count)
        inverse_depth = np.divide(top, bottom, out=np.zeros(count), where=bottom > 1e-12)
        residual = miss + inverse_depth[at, None] * lever
        weight = robust_weight(cameras.focal * residual, 2.0)
    return inverse_depth


def with_fresh_depth(cameras: Cameras, obs: Observations) -> Cameras:
    """The cameras with all anchors triangulated; those without parallax are far away."""
    fresh = triangulate(cameras, obs)
    known = fresh[fresh > 0]
    default = float(np.median(known)) if len(known) else 0.5
    return replace(cameras, inverse_depth=np.where(fresh > 0, fresh, 0.2 * default))


def world_points(cameras: Cameras, obs: Observations, anchors: np.ndarray) -> np.ndarray:
    """(M, 3) points of some anchors, in the world of the cameras."""
    xy = (obs.anchor_pixel[anchors] - cameras.centre) / cameras.focal
    rays = np.concatenate([xy, np.ones((len(xy), 1))], 1)
    in_cam = rays / np.maximum(cameras.inverse_depth[anchors, None], 1e-6)
    world_from_cam = np.linalg.inv(cameras.cam_from_world)[obs.anchor_frame[anchors]]
    turned = np.einsum("mab,mb->ma", world_from_cam[:, :3, :3], in_cam)
    return np.asarray(turned + world_from_cam[:, :3, 3])
