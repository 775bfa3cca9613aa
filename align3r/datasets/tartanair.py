"""TartanAir: synthetic flights through rooms and landscapes, with depth, poses and flow.

Wang et al., IROS 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

from align3r.datasets.files import (
    check_choice,
    check_sequence,
    check_size,
    files,
    folders,
    image_size,
    read_numbers,
    reading,
    rigid_from_quaternions,
)
from align3r.datasets.frames import frames_of
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.errors import InputError
from align3r.io.arrays import read_npy

CAMERAS = ("left", "right")
FRAMES_A_SECOND = 10.0
"""Of the second release; the first says nothing."""

_CV_FROM_NED = np.eye(4)[[1, 2, 0, 3]]
_TRAJECTORY = "P[0-9][0-9][0-9]"


def names(root: Path, *, camera: str = "left", hidden_flow: bool = False) -> list[str]:
    """Trajectories that are there, as `abandonedfactory/Easy/P000`."""
    return sorted(_trajectories(root))


def read(root: Path, name: str, *, camera: str = "left", hidden_flow: bool = False) -> Sequence:
    """A trajectory. Depth of the sky is as the data set has it: finite and very large.

    Args:
        root: With the environments; each may hold a folder of its own name once more, as unpacked.
        name: One of `names`.
        camera: `left` or `right`. Flow is of the left one alone.
        hidden_flow: Whether pixels that are hidden or out of sight in the next frame have flow; nan
            if not.

    Raises:
        InputError: Files are missing or cannot be read.
        UsageError: There is no such camera.
    """
    check_choice(camera, CAMERAS, "the camera")
    there = _trajectories(root)
    check_sequence(name, sorted(there), root)
    at = there[name]
    patterns = [
        f"{at}/image_{camera}/*_{camera}.png",
        f"{at}/depth_{camera}/*_{camera}_depth.npy",
    ]
    frames = frames_of(root, *patterns)
    images, depths = (files(root, pattern, frames) for pattern in patterns)
    world_from_cam = _poses(root / at / f"pose_{camera}.txt", len(frames))
    size = image_size(images[0])
    flow = _flow(root, at, frames, size=size, hidden=hidden_flow) if camera == "left" else None
    return Sequence(
        dataset="tartanair",
        name=name,
        frames=tuple(frames),
        images=images,
        truth=Truth(
            world_from_cam=world_from_cam,
            intrinsics=np.tile(_intrinsics(size), (len(frames), 1, 1)),
            times=np.array(frames, np.float64) / FRAMES_A_SECOND,
            size=size,
            depth=lambda i: _read_depth(depths[i], size),
            flow=flow,
        ),
    )


def _trajectories(root: Path) -> dict[str, str]:
    """Where each trajectory is: an environment's zip holds the environment's folder again."""
    found = {}
    for at in folders(root, f"*/*/[EH]a[sr][yd]/{_TRAJECTORY}"):
        environment, again, *rest = at.split("/")
        if environment == again:
            found["/".join([environment, *rest])] = at
    return found | {at: at for at in folders(root, f"*/[EH]a[sr][yd]/{_TRAJECTORY}")}


def _poses(path: Path, count: int) -> np.ndarray:
    rows = read_numbers(path, 7)
    if len(rows) != count:
        raise InputError(
            f"{path} has {len(rows)} poses, but there are {count} images",
            hint="unpack the images of this trajectory again",
        )
    # The world's axes are north, east, down, and so are the camera's: forward, right, down.
    poses: np.ndarray = _CV_FROM_NED @ rigid_from_quaternions(rows, path) @ _CV_FROM_NED.T
    return poses


def _intrinsics(size: tuple[int, int]) -> np.ndarray:
    """Of a camera that sees 90 degrees."""
    width, height = size
    return np.array([[width / 2, 0, width / 2], [0, width / 2, height / 2], [0, 0, 1]])


def _read_depth(path: Path, size: tuple[int, int]) -> np.ndarray:
    depth = check_size(_read_map(path, ndim=2), size, path)
    return np.where(depth > 0, depth, np.float32(np.nan))


def _flow(
    root: Path, at: str, frames: list[str], *, size: tuple[int, int], hidden: bool
) -> Callable[[int], np.ndarray] | None:
    if not (root / at / "flow").is_dir():
        return None
    pairs = [f"{a}_{b}" for a, b in pairwise(frames)]
    flows = files(root, f"{at}/flow/*_flow.npy", pairs)
    masks = files(root, f"{at}/flow/*_mask.npy", pairs)

    def read_flow(i: int) -> np.ndarray:
        if i >= len(flows):
            raise InputError(f"frame {i} is the last one: it has no flow", hint="ask for others")
        flow = check_size(_read_map(flows[i], ndim=3), size, flows[i])
        if flow.shape[2] != 2:
            raise InputError(f"{flows[i]} has {flow.shape[2]} channels", hint="wanted: 2")
        if hidden:
            return flow
        mask = check_size(_read_map(masks[i], ndim=2), size, masks[i])
        return np.where(mask[..., None] == 0, flow, np.float32(np.nan))

    return read_flow


def _read_map(path: Path, *, ndim: int) -> np.ndarray:
    with reading(path):
        array = read_npy(path)
        if array.ndim != ndim:
            raise ValueError(f"an array of shape {array.shape}")
    with np.errstate(over="ignore"):
        return array.astype(np.float32)
