"""What moves, once the cameras are solved: the flow that is seen against theirs.

The same votes as before the solve, but of cameras and depths that all pairs agree on, so that the
motion of a large thing is not taken for the camera's.
"""

from __future__ import annotations

import numpy as np

from align3r.motion.evidence import Evidence, Vote, gather, vote
from align3r.motion.masks import masks_of
from align3r.motion.resection import Pinhole
from align3r.motion.static_scene import Sight, one_way, two_images
from align3r.types import PairFlows, Solution


def solved_masks(
    solution: Solution,
    flows: PairFlows,
    threshold: float,
    *,
    aspect: float = 1.0,
    images: np.ndarray | None = None,
) -> np.ndarray:
    """Moving regions of all frames, from solved cameras and depth.

    Args:
        solution: Cameras and depth of N frames.
        flows: Flow of pairs of these frames.
        threshold: In robust standard deviations; see `motion_masks`.
        aspect: Horizontal over vertical focal length.
        images: (N, h, w, 3) uint8 RGB; with them a flow must match the image better than a
            static scene would, what would be in sight but has no flow has a say, and masks end
            where the image has an edge.

    Returns:
        (N, h, w) bool, True = moving.
    """
    found = solved_evidence(solution, flows, aspect=aspect, images=images)
    return masks_of(found, flows, threshold=threshold, images=images)


def solved_evidence(
    solution: Solution,
    flows: PairFlows,
    *,
    aspect: float = 1.0,
    images: np.ndarray | None = None,
) -> Evidence:
    """How far the flow that is seen is from what a static scene would show these cameras."""
    depth, edges = solution.depth, flows.edges
    shape = (depth.shape[1], depth.shape[2])

    def sight(frame: int, row: int) -> Sight:
        backward = bool(edges[row, 0] != frame)
        other = int(edges[row, 0 if backward else 1])
        return Sight(
            *one_way(flows, row, backward=backward),
            np.linalg.inv(solution.world_from_cam[other]) @ solution.world_from_cam[frame],
            Pinhole(float(solution.focal[frame]), solution.principal_point, shape, aspect),
            float(solution.focal[other]),
            images=two_images(images, edges[row], backward=backward),
            target_depth=depth[other],
        )

    def votes_of(frame: int) -> list[Vote]:
        rows = np.flatnonzero((edges == frame).any(1))
        with np.errstate(divide="ignore"):
            rho = np.where(depth[frame] > 0, 1 / depth[frame], np.nan).astype(np.float32)
        votes = (vote(sight(frame, int(row)), rho) for row in rows)
        return [one for one in votes if one is not None]

    return gather(votes_of, len(depth), shape)
