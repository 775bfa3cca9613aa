"""A sequence that is ready to be rendered: its scene, and everything about each of its frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from align3r.datasets.rendered.flow import Shot, landing, optical_flow, visible
from align3r.datasets.rendered.raycast import Seen, pixel_centres, rays_through, trace
from align3r.datasets.rendered.recipes import recipe
from align3r.datasets.rendered.shading import moves, smoothed
from align3r.errors import UsageError

_CONTRAST = 0.06
"""Neighbours that differ by less need no more than one ray a pixel: 15 of 255 levels."""
_MIN_SIDE, _MIN_FRAMES = 16, 1


@dataclass(frozen=True)
class Order:
    """Which sequence, and how large."""

    name: str
    """One of the recipes."""
    seed: int = 0
    """0 is the benchmark; others have other things, colours and paths, to train on."""
    size: tuple[int, int] | None = None
    """(width, height), pixels; None: as the recipe says."""
    frames: int | None = None
    """None: as the recipe says."""

    def filled(self) -> Order:
        """The same with nothing left open.

        Raises:
            UsageError: There is no such sequence, or it cannot be of that size or length.
        """
        row = recipe(self.name)
        width, height = self.size or row.size
        frames = row.frames if self.frames is None else self.frames
        if min(width, height) < _MIN_SIDE or frames < _MIN_FRAMES or self.seed < 0:
            raise UsageError(
                f"no sequence has {frames} frames of {width}x{height} pixels and seed {self.seed}",
                hint=f"{_MIN_FRAMES} frame or more, sides of {_MIN_SIDE} or more, a seed from 0 on",
            )
        return Order(self.name, self.seed, (width, height), frames)


class Film:
    """A sequence that is ready to be rendered, frame by frame."""

    def __init__(self, order: Order) -> None:
        """Build the scene of an order that is filled in."""
        assert order.size is not None and order.frames is not None
        self.recipe = recipe(order.name)
        self.size, self.frames = order.size, order.frames
        self.k = self.recipe.intrinsics(self.size)
        self.solids, self.light = self.recipe.build(order.seed)
        self.camera = self.recipe.camera_of(order.seed)

    def shot(self, i: int) -> Shot:
        """The camera of a frame."""
        t = self.recipe.clock(i / self.recipe.fps)
        return Shot(self.recipe.pose(self.camera, t), self.k, t)

    def seen(self, i: int) -> Seen:
        """What the pixels of a frame see, row by row."""
        shot, rays = self.shot(i), rays_through(pixel_centres(self.size), self.k)
        return trace(self.solids, shot.world_from_cam, rays, t=shot.t)

    def image(self, i: int) -> np.ndarray:
        """(h, w, 3) uint8 RGB."""
        shot = self.shot(i)
        colour = smoothed(
            self.solids,
            shot.world_from_cam,
            self.k,
            size=self.size,
            t=shot.t,
            contrast=_CONTRAST,
            light=self.light,
        )
        return np.asarray(np.rint(255 * colour), np.uint8)

    def depth(self, seen: Seen) -> np.ndarray:
        """(h, w) float32 metres; nan in the sky."""
        is_sky = np.take([solid.is_sky for solid in self.solids], seen.which)
        return self._map(np.where(is_sky, np.nan, seen.depth).astype(np.float32))

    def moving(self, seen: Seen) -> np.ndarray:
        """(h, w) bool."""
        return self._map(moves(self.solids, seen))

    def flow(self, i: int, seen: Seen) -> tuple[np.ndarray, np.ndarray]:
        """Flow to the next frame (h, w, 2) float32, and whether it is seen there (h, w) bool."""
        there = self.shot(i + 1)
        landed = landing(self.solids, seen, self.shot(i).t, there)
        flow = self._map(optical_flow(pixel_centres(self.size), landed, self.size))
        is_seen = self._map(visible(self.solids, seen, landed, there))
        return flow, is_seen & np.isfinite(flow).all(-1)

    def _map(self, rows: np.ndarray) -> np.ndarray:
        w, h = self.size
        return rows.reshape(h, w, *rows.shape[1:])
