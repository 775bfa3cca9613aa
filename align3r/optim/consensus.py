"""Scales and poses that most pairs agree on, begun along a spanning tree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import roma
import torch
from torch import Tensor

from align3r.geometry.rigid import compose, inverse_rigid
from align3r.geometry.robust import weighted_median

Tree = list[tuple[int, int]]
"""(edge, frame it reaches), parents before children, from frame 0."""

SCALE_SWEEPS = 4
POSE_SWEEPS = 30


def consensus_scales(
    log_depth: Tensor, weight: Tensor, edges: np.ndarray, *, tree: Tree, n_frames: int
) -> Tensor:
    """(E,) ln scale of each pair that makes its depths agree with the other pairs' depths.

    Args:
        log_depth: (E, 2, P) log depth of both views in the unit of the pair.
        weight: (E, 2, P).
        edges: (E, 2).
        tree: Order in which the first scales are found.
        n_frames: N.
    """
    log_scale = _tree_scales(log_depth, weight, edges, tree)
    view = torch.from_numpy(edges.reshape(-1)).to(log_depth.device)
    flat, heavy = log_depth.flatten(0, 1), weight.flatten(0, 1)
    members = [(view == frame).nonzero()[:, 0] for frame in range(n_frames)]
    for _ in range(SCALE_SWEEPS):
        scaled = flat + log_scale.repeat_interleave(2)[:, None]
        agreed = torch.stack([weighted_median(scaled[m], heavy[m], dim=0) for m in members])
        miss = agreed[view].view_as(log_depth) - log_depth
        log_scale = weighted_median(miss.flatten(1), weight.flatten(1))
    return log_scale


def _tree_scales(log_depth: Tensor, weight: Tensor, edges: np.ndarray, tree: Tree) -> Tensor:
    """ln scale of every pair from the depths that the tree alone gives the frames."""
    depth: dict[int, Tensor] = {}
    for edge, frame in tree:
        side = int(edges[edge, 1] == frame)
        parent = int(edges[edge, 1 - side])
        if parent not in depth:  # frame 0: the first pair sets the unit
            depth[parent] = log_depth[edge, 1 - side]
        offset = weighted_median(depth[parent] - log_depth[edge, 1 - side], weight[edge, 1 - side])
        depth[frame] = log_depth[edge, side] + offset
    agreed = torch.stack([depth[frame] for frame in range(len(depth))])
    miss = agreed[torch.from_numpy(edges).to(agreed.device)] - log_depth
    return weighted_median(miss.flatten(1), weight.flatten(1))


def consensus_poses(
    first_from_second: Tensor, edges: Tensor, score: Tensor, *, tree: Tree, n_frames: int
) -> Tensor:
    """(N, 4, 4) world from camera, camera 0 the identity.

    Chained along the tree, then every pose moves to the geometric median of what its pairs
    say, so that one wrong pair does not bend the tree for good.

    Args:
        first_from_second: (E, 4, 4) in the common unit.
        edges: (E, 2).
        score: (E,) confidence of the pairs.
        tree: Spanning tree.
        n_frames: N.
    """
    pose = [torch.eye(4).to(first_from_second)] * n_frames
    second_from_first = inverse_rigid(first_from_second)
    ends = edges.tolist()
    for edge, frame in tree:
        i, j = ends[edge]
        pose[frame] = (
            pose[i] @ first_from_second[edge] if frame == j else pose[j] @ second_from_first[edge]
        )
    world_from_cam = torch.stack(pose)
    opinions = _Opinions(
        here=torch.cat([edges[:, 1], edges[:, 0]]),
        there=torch.cat([edges[:, 0], edges[:, 1]]),
        there_from_here=torch.cat([first_from_second, second_from_first]),
        weight=torch.cat([score, score]),
    )
    for _ in range(POSE_SWEEPS):
        world_from_cam = opinions.swept(world_from_cam)
    return inverse_rigid(world_from_cam[:1]) @ world_from_cam


@dataclass(frozen=True)
class _Opinions:
    """What pairs say about the pose of one of their frames, L in all."""

    here: Tensor
    """(L,) the frame."""
    there: Tensor
    """(L,) the other one."""
    there_from_here: Tensor
    """(L, 4, 4)."""
    weight: Tensor
    """(L,)."""

    def swept(self, world_from_cam: Tensor) -> Tensor:
        """Half a step of every pose towards the geometric median of its neighbours' opinions."""
        opinion = world_from_cam[self.there] @ self.there_from_here
        now = world_from_cam[self.here]
        turn = roma.rotmat_to_rotvec(now[:, :3, :3].mT @ opinion[:, :3, :3])
        move = opinion[:, :3, 3] - now[:, :3, 3]
        step = []
        for miss, quiet in ((turn, 1e-3), (move, 1e-3)):
            pull = self.weight / miss.norm(dim=1).clamp(min=quiet)
            total = miss.new_zeros(len(world_from_cam)).index_add_(0, self.here, pull)
            force = torch.zeros_like(world_from_cam[:, :3, 3])
            force.index_add_(0, self.here, pull[:, None] * miss)
            step.append(0.5 * force / total.clamp(min=1e-12)[:, None])
        rotation = world_from_cam[:, :3, :3] @ roma.rotvec_to_rotmat(step[0])
        return compose(rotation, world_from_cam[:, :3, 3] + step[1])
