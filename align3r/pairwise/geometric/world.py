"""One world for all frames of a video: its unit, its parts, the frames between."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from align3r.pairwise.geometric.bundle import Cameras, relative_poses
from align3r.pairwise.geometric.observations import Observations
from align3r.pairwise.geometric.structure import Structure
from align3r.pairwise.geometric.triangulation import triangulate


def baseline_px(cameras: Cameras, obs: Observations) -> float:
    """Typical displacement that the camera's way (not its turns) causes in the widest pairs."""
    if not len(obs.anchor):
        return 0.0
    inverse_depth, per_pair = triangulate(cameras, obs), list[float]()
    for _, part in obs.parts:
        _, shift = relative_poses(cameras, part)
        move = cameras.focal * inverse_depth[part.anchor] * np.linalg.norm(shift, axis=-1)
        per_pair += [float(np.median(move[rows])) for _, _, rows in part.blocks]
    return float(np.quantile(per_pair, 0.8))


def unit_scale(cameras: Cameras, frames: np.ndarray) -> Cameras:
    """The scene in the unit that makes the median depth of these frames' anchors 1."""
    # Every frame has as many anchors.
    known = cameras.inverse_depth.reshape(len(cameras.cam_from_world), -1)[frames]
    seen = known[known > 2e-6]
    unit = float(np.median(seen)) if len(seen) else 1.0
    poses = cameras.cam_from_world.copy()
    poses[:, :3, 3] *= unit
    return replace(cameras, cam_from_world=poses, inverse_depth=cameras.inverse_depth / unit)


def chained(parts: list[tuple[np.ndarray, Structure]], n_frames: int) -> Structure:
    """Parts of a video in one world: each begins at the last placed camera of the part before.

    Args:
        parts: Frame numbers and structure of each part, in order of time; one focal length.
        n_frames: N of the video.
    """
    poses = np.tile(np.eye(4), (n_frames, 1, 1))
    placed = np.zeros(n_frames, bool)
    inverse_depth = np.ones((n_frames, len(parts[0][1].cameras.inverse_depth) // n_frames))
    start = np.eye(4)
    for frames, structure in parts:
        own = structure.cameras.cam_from_world
        inside = frames[structure.placed[frames]]
        # own[first] becomes start: the world of the part moves, not its shape.
        own_from_world = np.linalg.inv(own[inside[0]]) @ start
        poses[inside] = own[inside] @ own_from_world
        placed[inside] = True
        start = poses[inside[-1]]
        # Every frame has as many anchors.
        inverse_depth[frames] = structure.cameras.inverse_depth.reshape(n_frames, -1)[frames]
    cameras = replace(
        parts[0][1].cameras, cam_from_world=poses, inverse_depth=inverse_depth.ravel()
    )
    return Structure(cameras, placed)


def with_all_frames(structure: Structure) -> Cameras:
    """A pose for every frame: those that could not be placed lie between their neighbours."""
    placed = np.flatnonzero(structure.placed)
    cameras = structure.cameras
    if len(placed) == len(structure.placed):
        return cameras
    if len(placed) == 1:
        same = np.repeat(cameras.cam_from_world[placed], len(structure.placed), axis=0)
        return replace(cameras, cam_from_world=same)
    world_from_cam = np.linalg.inv(cameras.cam_from_world[placed])
    numbers = np.clip(np.arange(len(structure.placed)), placed[0], placed[-1])
    poses = np.tile(np.eye(4), (len(numbers), 1, 1))
    turn = Slerp(placed, Rotation.from_matrix(world_from_cam[:, :3, :3]))
    poses[:, :3, :3] = turn(numbers).as_matrix()
    for axis in range(3):
        poses[:, axis, 3] = np.interp(numbers, placed, world_from_cam[:, axis, 3])
    return replace(cameras, cam_from_world=np.linalg.inv(poses))
