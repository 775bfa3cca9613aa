"""MPI-Sintel, the training sequences with depth, cameras and flow (Butler et al., ECCV 2012)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from align3r.datasets.files import (
    check_choice,
    check_sequence,
    check_size,
    files,
    folders,
    image_size,
    rigid,
)
from align3r.datasets.frames import check_unbroken, frames_of
from align3r.datasets.pinholes import pinholes
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.errors import InputError
from align3r.geometry.cameras import ego_flow
from align3r.io.sintel_files import read_cam, read_dpt, read_flo

FRAMES_A_SECOND = 24.0
RENDERINGS = ("clean", "final")


def names(root: Path, *, rendering: str = "clean", moving_px: float = 0.1) -> list[str]:
    """Sequences of which there are images; settings as of `read`."""
    check_choice(rendering, RENDERINGS, "rendering")
    return [Path(at).name for at in folders(root, f"training/{rendering}/*")]


def read(root: Path, name: str, *, rendering: str = "clean", moving_px: float = 0.1) -> Sequence:
    """A sequence in the film's own unit. The sky is as far as the film has it: very far, finite.

    Args:
        root: With `training/{clean,final,depth,camdata_left,flow}`; flow may be absent.
        name: As `alley_2`.
        rendering: The pass: `clean`, or `final` with fog, blur of motion and of the lens.
        moving_px: A pixel moves where its flow differs by more than this from what depth and
            cameras make of a static world; MonST3R takes 0.1 or 13.75. The last frame has no
            flow: there moves what moved before, where its flow led to.

    Raises:
        InputError: Files are missing or cannot be read.
        UsageError: There is no such rendering.
    """
    check_sequence(name, names(root, rendering=rendering), root)
    patterns = [
        f"training/{kind}/{name}/frame_*.{suffix}"
        for kind, suffix in ((rendering, "png"), ("depth", "dpt"), ("camdata_left", "cam"))
    ]
    frames = frames_of(root, *patterns)
    check_unbroken(frames, patterns[0])
    images, depth_files, cam_files = (files(root, pattern, frames) for pattern in patterns)
    size = image_size(images[0])
    intrinsics, world_from_cam = _cameras(cam_files)
    truth = Truth(
        world_from_cam=world_from_cam,
        intrinsics=intrinsics,
        times=np.array([int(frame) - 1 for frame in frames]) / FRAMES_A_SECOND,
        size=size,
        depth=lambda i: _read_depth(depth_files[i], size),
        metric=False,
    )
    has_flow = len(frames) > 1 and (root / "training" / "flow" / name).is_dir()
    if has_flow:
        flow_files = files(root, f"training/flow/{name}/frame_*.flo", frames[:-1])
        motion = _Motion(truth, flow_files, moving_px)
        truth = replace(truth, flow=motion.flow, moving=motion.moving)
    return Sequence(
        dataset="sintel",
        name=name,
        frames=tuple(f"frame_{frame}" for frame in frames),
        truth=truth,
        images=images,
        remarks=() if has_flow else ("there is no flow, so it is not known what moves",),
    )


@dataclass(frozen=True)
class _Motion:
    """Flow, and what it says about what moves."""

    still: Truth
    """Cameras and depth."""
    files: tuple[Path, ...]
    """From each frame to the next."""
    moving_px: float

    def flow(self, i: int) -> np.ndarray:
        """(H, W, 2) float32 pixels from frame i to the next."""
        if i >= len(self.files):
            raise InputError(f"frame {i} is the last one: it has no flow", hint="ask for others")
        return check_size(read_flo(self.files[i]), self.still.size, self.files[i])

    def moving(self, i: int) -> np.ndarray:
        """(H, W) bool: where the flow is not that of a static world."""
        if i == len(self.files):
            return _led_on(self.moving(i - 1), self.flow(i - 1))
        assert self.still.depth is not None
        poses, k = self.still.world_from_cam, self.still.intrinsics
        with np.errstate(all="ignore"):
            static, seen = ego_flow(
                1.0 / self.still.depth(i),
                np.linalg.inv(poses[i + 1]) @ poses[i],
                float(k[i, 0, 0]),
                (float(k[i, 0, 2]), float(k[i, 1, 2])),
                target_focal=float(k[i + 1, 0, 0]),
                target_centre=(float(k[i + 1, 0, 2]), float(k[i + 1, 1, 2])),
                aspect=float(k[i, 0, 0] / k[i, 1, 1]),
            )
            # Where depth or flow is unknown the difference is nan, and nothing is said to move.
            miss = np.linalg.norm(self.flow(i) - static, axis=-1)
        return np.asarray(seen & (miss > self.moving_px))


def _led_on(moving: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Where the flow leads what moves, to the nearest pixel."""
    v, u = np.nonzero(moving)
    to_u, to_v = np.rint(flow[v, u] + np.stack([u, v], axis=-1)).astype(np.int64).T
    inside = (to_u >= 0) & (to_u < moving.shape[1]) & (to_v >= 0) & (to_v < moving.shape[0])
    there = np.zeros_like(moving)
    there[to_v[inside], to_u[inside]] = True
    return there


def _read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W) float32; what is not positive is unknown."""
    depth = check_size(read_dpt(path), size, path)
    depth[~(depth > 0)] = np.nan
    return depth


def _cameras(paths: tuple[Path, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3, 3) intrinsics and (N, 4, 4) world_from_cam."""
    intrinsics, poses = [], []
    for path in paths:
        k, cam_from_world = read_cam(path)
        intrinsics.append(pinholes(k[None], path)[0])
        poses.append(np.linalg.inv(rigid(cam_from_world[None], path)[0]))
    return np.stack(intrinsics), np.stack(poses)
