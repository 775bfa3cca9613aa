"""The film in a binary glTF: frames that take turns, and a camera that goes its way.

What moves is one node a frame, switched on and off by an animated scale of 1 or 0 with STEP
interpolation. The specification names this as the way to animate visibility (glTF 2.0,
"Transformations": a node whose scale is zero need not be drawn), so it plays wherever animations
play: three.js, Babylon, Blender. KHR_node_visibility would need KHR_animation_pointer, which
three.js skips. A reader that knows no animations shows the first frame.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from align3r.io.gltf import Gltf, placed

_LEAST_GAP = 1e-3
"""Seconds between two frames: key times must increase, and a source may give one time twice."""


def add_film(
    gltf: Gltf, times: np.ndarray, moving: dict[int, int], *, camera: int, poses: np.ndarray
) -> None:
    """One animation, as long as the video; a single frame needs none.

    Args:
        gltf: Where it goes.
        times: (N,) seconds of the frames.
        moving: Nodes that are on during their frame only, by its number; at rest the first is on.
        camera: Node of the camera.
        poses: (N, 4, 4) where it is.
    """
    n = len(poses)
    if n < 2:
        return
    keys = _Keys.of(times)
    samplers: list[dict[str, Any]] = []
    channels: list[dict[str, Any]] = []

    def channel(node: int, path: str, **sampler: Any) -> None:
        samplers.append(sampler)
        target = {"node": node, "path": path}
        channels.append({"sampler": len(samplers) - 1, "target": target})

    patterns = {
        on: gltf.accessor(np.repeat(np.array(on, np.float32)[:, None], 3, axis=1))
        for on in ((1, 0), (0, 1, 0), (0, 1, 1))
    }
    for i, node in moving.items():
        begin, end = keys.begin[i], keys.end[i]
        # The last frame stays on at the very end, where players may stop.
        on = (1, 0) if i == 0 else (0, 1, 1) if i == n - 1 else (0, 1, 0)
        turns = np.array([begin, end] if i == 0 else [0, begin, end], np.float32)
        when = gltf.accessor(turns, bounds=True)
        channel(node, "scale", input=when, output=patterns[on], interpolation="STEP")
    places = [placed(pose) for pose in (*poses, poses[-1])]
    when = gltf.accessor(np.append(keys.begin, keys.end[-1]), bounds=True)
    for path in ("translation", "rotation"):
        values = np.array([place[path] for place in places])
        if path == "rotation":
            values = _continuous(values)
        there = gltf.accessor(values.astype(np.float32))
        channel(camera, path, input=when, output=there, interpolation="LINEAR")
    gltf.add("animations", name="video", samplers=samplers, channels=channels)


@dataclass(frozen=True)
class _Keys:
    """When frames begin and end in the animation, in float32 seconds from the first frame."""

    begin: np.ndarray
    """(N,)."""
    end: np.ndarray
    """(N,): the next frame's begin; the last frame stays as long as the median one."""

    @staticmethod
    def of(times: np.ndarray) -> _Keys:
        """From the (N,) seconds of two frames or more."""
        begin, gaps = times - times[0], np.diff(times)
        if (gaps < _LEAST_GAP).any():
            gaps = np.maximum(gaps, _LEAST_GAP)
            begin = np.append(0.0, np.cumsum(gaps))
        ends = np.append(begin[1:], begin[-1] + np.median(gaps))
        return _Keys(begin.astype(np.float32), ends.astype(np.float32))


def _continuous(quat_xyzw: np.ndarray) -> np.ndarray:
    """The same rotations without sign jumps, which interpolation would follow."""
    turns = np.sum(quat_xyzw[1:] * quat_xyzw[:-1], axis=1) < 0
    signs = np.where(np.append(False, np.cumsum(turns) % 2 == 1), -1.0, 1.0)
    return np.asarray(quat_xyzw * signs[:, None])
