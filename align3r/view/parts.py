"""A result as the page asks for it: one description, and parts that are made when asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

import cv2
import numpy as np

from align3r.errors import Align3rError
from align3r.reconstruction import Reconstruction
from align3r.view import packing
from align3r.view.cloud import Cloud
from align3r.view.look import Look
from align3r.view.palette import depth_picture, depth_range, spread
from align3r.view.sampling import StaticBlocks, frame_cloud, moving_cloud
from align3r.view.trails import follow, join_segments

STATIC_FRAMES = 48
"""Most frames whose static points are shown."""


@dataclass(frozen=True, kw_only=True)
class Detail:
    """How much of a result is shown."""

    static: int = 400_000
    """Static points."""
    moving: int = 40_000
    """Moving points of a moment."""
    frame: int = 150_000
    """Points of a moment when all of its pixels are wanted; 0: they cannot be."""
    picture: int = 480
    """Long side of the pictures, in pixels."""
    quality: int = 80
    """JPEG quality of the pictures."""
    trail_spacing: int = 8
    """Pixels between trails, in a picture 320 pixels long."""
    trails: int = 400_000
    """Pieces of trails; whole trails are left out where there are more."""
    trail_frames: int = 40
    """Frames in one part of the trails."""
    min_confidence: float = 1.5
    """Where the confidence slider stands at first."""


class _Growing:
    """Parts that must be made in order, each once; whoever asks for a later one makes the rest."""

    def __init__(self, make: Callable[[int], bytes]) -> None:
        self._make, self._lock = make, threading.Lock()
        self._done: list[bytes | Align3rError] = []

    def get(self, number: int) -> bytes:
        with self._lock:
            while len(self._done) <= number:
                try:
                    self._done.append(self._make(len(self._done)))
                except Align3rError as error:  # a damaged frame costs its own part only
                    self._done.append(error)
            found = self._done[number]
        if isinstance(found, Align3rError):
            raise found
        return found


class Parts:
    """One result for the page; `steps` are the frames on its timeline.

    Raises (from `part`):
        InputError: A file of the result cannot be read.
    """

    def __init__(
        self,
        scene: Reconstruction,
        look: Look,
        *,
        name: str,
        steps: np.ndarray,
        groups: Sequence[Sequence[int]],
        detail: Detail,
        note: str = "",
    ) -> None:
        """Nothing of the maps is read here."""
        self.scene, self.look, self.name, self.detail = scene, look, name, detail
        self.steps, self._groups, self.note = steps, groups, note
        blocks = StaticBlocks(scene, groups, max_points=detail.static)
        self._static = _Growing(lambda k: packing.pack_points(blocks.block(k), look))
        trails = self._trail_parts()
        # No trail crosses a frame that cannot be read: nothing comes after the error.
        self._trails = _Growing(lambda _: next(trails, b""))
        self._kinds: dict[str, tuple[int, Callable[[int], bytes]]] = {
            "static": (len(groups), self._static.get),
            "trails": (-(-(len(scene) - 1) // detail.trail_frames), self._trails.get),
            "moving": (len(steps), self._moving),
            "image": (len(steps), self._image),
            "depth": (len(steps), self._depth),
            "mask": (len(steps), self._mask),
        }
        if detail.frame:
            self._kinds["frame"] = (len(steps), self._frame)

    @property
    def counts(self) -> dict[str, int]:
        """How many parts of each kind there are."""
        return {kind: count for kind, (count, _) in self._kinds.items()}

    def about(self) -> dict[str, Any]:
        """What the page must know before it asks for parts, as JSON."""
        scene, look, steps = self.scene, self.look, self.steps
        path = spread(len(scene), 2000)
        centres = look.to_viewer(scene.world_from_cam[path, :3, 3])
        return {
            "name": self.name,
            "frames": len(scene),
            "counts": self.counts,
            "size": list(scene.size),
            "start": round(float(scene.times[steps[0]]), 4),
            "times": (scene.times[steps] - scene.times[steps[0]]).round(4).tolist(),
            "numbers": scene.frame_index[steps].tolist(),
            "cameras": [look.camera(scene, int(i)) for i in steps],
            "path": centres.round(5).ravel().tolist(),
            "frustum": look.frustum,
            "depth": look.depth,
            # Scene units of the typical depth, to write ranges in.
            "depth_units": look.depth / look.scale,
            "unit": "m" if scene.in_metres else "",
            "scale": scene.scale,
            # The least level that keeps no point below the wanted confidence.
            "level": int(packing.confidence_level(self.detail.min_confidence * 1.02)),
            "confidence_steps": packing.CONFIDENCE_STEPS,
            "range_steps": packing.RANGE_STEPS,
            "pixel": 1.0 / float(np.median(scene.intrinsics[:, 0, 0])),
            "note": self.note,
        }

    def part(self, kind: str, number: int) -> bytes:
        """The bytes of a part.

        Raises:
            KeyError: There is no such part.
            InputError: A file of the result cannot be read.
        """
        count, make = self._kinds[kind]
        if not 0 <= number < count:
            raise KeyError(number)
        return make(number)

    def _moving(self, number: int) -> bytes:
        cloud = moving_cloud(self.scene, int(self.steps[number]), max_points=self.detail.moving)
        return packing.pack_points(cloud, self.look)

    def _frame(self, number: int) -> bytes:
        return packing.pack_points(self._pixels(int(self.steps[number])), self.look)

    def _pixels(self, i: int) -> Cloud:
        width, height = self.scene.size
        stride = max(1, int(np.ceil(np.sqrt(width * height / self.detail.frame))))
        cloud = frame_cloud(self.scene, i, stride=stride)
        return cloud.pick(~cloud.moving)

    def _image(self, number: int) -> bytes:
        picture = self.scene.image(int(self.steps[number]))
        detail = self.detail
        return packing.pack_jpeg(picture, long_side=detail.picture, quality=detail.quality)

    def _depth(self, number: int) -> bytes:
        depth = self.scene.depth(int(self.steps[number]))
        depth = packing.shrink(depth, self.detail.picture, way=cv2.INTER_NEAREST)
        picture = depth_picture(depth, self._colours)
        return packing.pack_jpeg(picture, long_side=self.detail.picture, quality=75)

    def _mask(self, number: int) -> bytes:
        mask = self.scene.moving(int(self.steps[number]))
        return packing.pack_mask(mask, long_side=self.detail.picture)

    @cached_property
    def _colours(self) -> Any:
        return depth_range(self.scene, frames=12)

    def _trail_parts(self) -> Iterator[bytes]:
        """Trails, some frames together."""
        detail, n = self.detail, len(self.scene)
        pieces = follow(self.scene, spacing=detail.trail_spacing)
        while batch := list(islice(pieces, detail.trail_frames)):
            joined = join_segments(batch)
            most = max(detail.trails * len(batch) // (n - 1), 1)
            every = -(-len(joined) // most)
            while len(joined) > most:
                joined, every = joined.some(every), every + 1
            moments = np.searchsorted(self.steps, joined.frame)
            yield packing.pack_segments(joined, moments, self.look)


def growing_groups(n: int) -> list[list[int]]:
    """Frames of the blocks of static points for someone who waits: first the one in the middle,
    then the two ends, then ever closer ones between those before."""
    frames = spread(n, STATIC_FRAMES).tolist()
    order = [len(frames) // 2, 0, len(frames) - 1]
    step = len(frames)
    while step > 1:
        order += range(step // 2, len(frames), step)
        step //= 2
    order += range(len(frames))
    once = [frames[k] for k in dict.fromkeys(order)]
    groups = [once[:1], once[1:4], *(once[k : k + 4] for k in range(4, len(once), 4))]
    return [group for group in groups if group]
