"""Trails: points of moving things, followed from frame to frame by dense flow and lifted by depth.

Nothing is guessed where the pictures do not say it: a trail ends where the flow does not come
back to its pixel, where the moving mask ends and where the depth is unknown, and it has a gap
where the depth jumps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

import cv2
import numpy as np

from align3r.flow.dis import DisFlow
from align3r.flow.warp import consistent
from align3r.geometry.triangulate import unproject
from align3r.reconstruction import Reconstruction

LONG_SIDE = 320
"""Long side of the pictures in which points are followed."""
DEPTH_JUMP = 1.2
"""No piece is drawn where the depth of a followed point changes by more in one frame."""
SMOOTH = 0.5
"""Share of the new depth ratio in the running one: jitter along the ray is not motion."""


@dataclass(frozen=True)
class Segments:
    """Pieces of trails, in the world frame."""

    start: np.ndarray
    """(S, 3) float64."""
    end: np.ndarray
    """(S, 3) float64."""
    frame: np.ndarray
    """(S,) int64 frame in which the piece ends."""
    colours: np.ndarray
    """(S, 3) uint8 RGB, one colour a trail."""
    trail: np.ndarray
    """(S,) int64 number of the trail."""

    def __len__(self) -> int:
        return len(self.frame)

    def some(self, every: int) -> Segments:
        """The pieces of every n-th trail."""
        # Counted from 1: number 0 is a multiple of everything and would never be left out.
        keep = (self.trail + 1) % every == 0
        return Segments(*(column[keep] for column in vars(self).values()))


@dataclass(frozen=True)
class _Small:
    """One frame at the size in which points are followed."""

    grey: np.ndarray
    moving: np.ndarray
    inner: np.ndarray
    """`moving` without its rim, which is as often background as thing: trails begin here."""
    depth: np.ndarray


@dataclass
class _Tracks:
    """Points that are being followed."""

    pixels: np.ndarray
    """(T, 2) u, v in the small picture."""
    depth: np.ndarray
    """(T,) smoothed z-depth."""
    world: np.ndarray
    """(T, 3)."""
    colours: np.ndarray
    """(T, 3) uint8."""
    number: np.ndarray
    """(T,) int64, never given twice."""

    def pick(self, keep: np.ndarray) -> _Tracks:
        return _Tracks(*(column[keep] for column in vars(self).values()))


def follow(scene: Reconstruction, *, spacing: int = 10) -> Iterator[Segments]:
    """The pieces of all trails, frame by frame: N - 1 values, for frames 1 to N - 1.

    Args:
        scene: The reconstruction.
        spacing: Pixels between trails, in a picture of `LONG_SIDE`.
    """
    flow, tracks, born = DisFlow(), _empty(), count()
    here = _read(scene, 0)
    for i in range(1, len(scene)):
        there = _read(scene, i)
        if not (here.moving.any() and there.moving.any()):
            tracks, here = _empty(), there
            yield _pieces(tracks, tracks, i)
            continue
        tracks = _seed(scene, i - 1, here, tracks, spacing=spacing, born=born)
        forward = flow(here.grey, there.grey)
        sure = consistent(forward, flow(there.grey, here.grey))
        before, tracks, drawn = _advance(scene, i, there, tracks, forward=forward, sure=sure)
        yield _pieces(before.pick(drawn), tracks.pick(drawn), i)
        here = there


def _read(scene: Reconstruction, i: int) -> _Small:
    """Frame i; no depth is read where nothing moves."""
    width, height = scene.size
    scale = LONG_SIDE / max(width, height)
    size = max(16, round(width * scale)), max(16, round(height * scale))
    grey = cv2.cvtColor(scene.image(i), cv2.COLOR_RGB2GRAY)
    mask = cv2.resize(scene.moving(i).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    inner = cv2.erode(mask, np.ones((7, 7), np.uint8))
    depth = np.full(size[::-1], np.nan, np.float32)
    if mask.any():
        depth = cv2.resize(scene.depth(i), size, interpolation=cv2.INTER_NEAREST)
    small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return _Small(small, mask > 0, inner > 0, depth)


def _seed(
    scene: Reconstruction,
    i: int,
    here: _Small,
    tracks: _Tracks,
    *,
    spacing: int,
    born: Iterator[int],
) -> _Tracks:
    """New points in the cells of a grid where something moves and no trail is."""
    height, width = here.moving.shape
    half = spacing // 2
    v, u = (x.ravel() for x in np.mgrid[half:height:spacing, half:width:spacing])
    across = -(-width // spacing)
    taken = set((tracks.pixels // spacing).astype(int) @ [1, across])
    cell = (u // spacing) + across * (v // spacing)
    free = here.inner[v, u] & np.isfinite(here.depth[v, u]) & ~np.isin(cell, list(taken))
    pixels = np.stack([u, v], -1)[free].astype(float)
    depth = here.depth[v, u][free].astype(float)
    shape = here.moving.shape
    new = _Tracks(
        pixels,
        depth,
        lift(scene, i, pixels, depth, shape=shape),
        _hues(pixels, shape),
        np.array(list(islice(born, len(depth))), np.int64),
    )
    pairs = zip(vars(tracks).values(), vars(new).values(), strict=True)
    return _Tracks(*(np.concatenate(pair) for pair in pairs))


def _advance(
    scene: Reconstruction,
    i: int,
    there: _Small,
    tracks: _Tracks,
    *,
    forward: np.ndarray,
    sure: np.ndarray,
) -> tuple[_Tracks, _Tracks, np.ndarray]:
    """The trails that go on, as they were and as they are in frame i; and which are drawn (T,)."""
    height, width = sure.shape
    u, v = np.clip(np.rint(tracks.pixels).astype(int), 0, [width - 1, height - 1]).T
    pixels = tracks.pixels + forward[v, u]
    x, y = np.rint(pixels).astype(int).T
    inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    keep = inside & sure[v, u] & there.moving[y, x] & (there.depth[y, x] > 0)
    before, pixels = tracks.pick(keep), pixels[keep]
    seen = there.depth[y, x][keep].astype(float)
    ratio = seen / before.depth
    drawn = np.abs(np.log(ratio)) < np.log(DEPTH_JUMP)
    depth = np.where(drawn, before.depth * ratio**SMOOTH, seen)
    world = lift(scene, i, pixels, depth, shape=sure.shape)
    return before, _Tracks(pixels, depth, world, before.colours, before.number), drawn


def lift(
    scene: Reconstruction,
    i: int,
    pixels: np.ndarray,
    depth: np.ndarray,
    *,
    shape: tuple[int, ...],
) -> np.ndarray:
    """(T, 3) world points of pixels (T, 2) in a picture of `shape`, at z-depths (T,)."""
    at_source = (pixels + 0.5) * scene.size / np.array(shape[::-1]) - 0.5
    return unproject(at_source, depth, scene.intrinsics[i], scene.world_from_cam[i])


def _hues(pixels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(T, 3) colours by the place where a trail begins, so that neighbours look alike."""
    if not len(pixels):
        return np.zeros((0, 3), np.uint8)
    hue = (pixels[:, 0] / shape[1] * 100 + pixels[:, 1] / shape[0] * 130) % 180
    hsv = np.stack([hue, np.full_like(hue, 175), np.full_like(hue, 255)], -1)
    rgb = cv2.cvtColor(hsv.astype(np.uint8)[None], cv2.COLOR_HSV2RGB)
    return np.asarray(rgb[0])


def _pieces(before: _Tracks, after: _Tracks, i: int) -> Segments:
    frame = np.full(len(after.depth), i, np.int64)
    return Segments(before.world, after.world, frame, after.colours, after.number)


def join_segments(parts: Sequence[Segments]) -> Segments:
    """All pieces of one or more values of `follow`."""
    columns = zip(*(vars(part).values() for part in parts), strict=True)
    return Segments(*(np.concatenate(column) for column in columns))


def _empty() -> _Tracks:
    whole = np.zeros(0, np.int64)
    return _Tracks(
        np.zeros((0, 2)), np.zeros(0), np.zeros((0, 3)), np.zeros((0, 3), np.uint8), whole
    )
