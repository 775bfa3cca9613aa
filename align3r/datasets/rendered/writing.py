"""Sequences as folders: images and everything that is true about them, whole or not at all.

A folder holds `sequence.json` (format, version, name, seed, size, frames, fps), `cameras.npz`
(world_from_cam (N, 4, 4), K (N, 3, 3), time (N,)) and for every frame, by its number of four
digits: `images/*.png`; `depth/*.npz` (depth (h, w) float32 z-depth in metres, nan in the sky);
`moving/*.png` (white moves); and but for the last frame `flow/*.npz` (flow (h, w, 2) float32
pixels to the next frame, nan where the point leaves the image) and `visible/*.png` (white is seen
in the next frame too).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from align3r.datasets.rendered.flow import Shot, landing, optical_flow, visible
from align3r.datasets.rendered.raycast import Seen, Solid, pixel_centres, rays_through, trace
from align3r.datasets.rendered.recipes import VERSION, Recipe, recipe
from align3r.datasets.rendered.shading import Light, moves, smoothed
from align3r.errors import UsageError
from align3r.io.png import write_image, write_mask_png
from align3r.io.whole import whole_or_nothing

FORMAT = "align3r rendered sequence"
PARTS = ("images", "depth", "moving", "flow", "visible")
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


def described(order: Order) -> dict[str, object]:
    """What the sequence.json of an order that is filled in says."""
    whole = asdict(order) | {"size": list(order.size or ())}
    return {"format": FORMAT, "version": VERSION, **whole, "fps": recipe(order.name).fps}


def render_sequence(
    order: Order,
    folder: Path,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
    check: Callable[[], None] | None = None,
) -> None:
    """Render a sequence into a folder; the same order gives the same bytes.

    Args:
        order: Which.
        folder: It is there, whole, when this returns.
        jobs: Processes that render side by side; a script that asks for more than one has its
            own work under `if __name__ == "__main__"`.
        progress: Called with (frames done, frames in all).
        check: Raises if what is in the place of the folder may not be replaced; without it the
            place has to be empty.

    Raises:
        UsageError: The order cannot be filled, or the folder is there already.
        InputError: The place cannot be written.
    """
    order = order.filled()
    assert order.frames is not None
    numbers = range(order.frames)
    with whole_or_nothing(folder, check=check) as scratch:
        for part in PARTS:
            (scratch / part).mkdir()
        _write_cameras(order, scratch)
        done = 0
        if jobs == 1:
            film = Film(order)
            for i in numbers:
                film.write(i, scratch)
                _tell(progress, i + 1, order.frames)
        else:
            # Spawned, for a process that has threads of a library must not be forked.
            with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
                chunks = [range(k, order.frames, 2 * jobs) for k in range(2 * jobs)]
                for future in as_completed(
                    [pool.submit(_write_some, order, chunk, scratch) for chunk in chunks]
                ):
                    done += future.result()
                    _tell(progress, done, order.frames)
        text = json.dumps(described(order), indent=1) + "\n"
        (scratch / "sequence.json").write_text(text, encoding="utf-8")


class Film:
    """A sequence that is ready to be rendered, frame by frame."""

    def __init__(self, order: Order) -> None:
        """Build the scene of an order that is filled in."""
        assert order.size is not None and order.frames is not None
        self.recipe: Recipe = recipe(order.name)
        self.size, self.frames = order.size, order.frames
        self.k = self.recipe.intrinsics(self.size)
        self.solids: list[Solid]
        self.light: Light
        self.solids, self.light = self.recipe.build(order.seed)

    def shot(self, i: int) -> Shot:
        """The camera of a frame."""
        t = self.recipe.clock(i / self.recipe.fps)
        return Shot(self.recipe.pose(t), self.k, t)

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

    def write(self, i: int, folder: Path) -> None:
        """Write everything about a frame."""
        stem, seen = f"{i:04d}", self.seen(i)
        write_image(self.image(i), folder / "images" / f"{stem}.png")
        np.savez_compressed(folder / "depth" / f"{stem}.npz", depth=self.depth(seen))
        write_mask_png(self.moving(seen), folder / "moving" / f"{stem}.png")
        if i + 1 < self.frames:
            flow, is_seen = self.flow(i, seen)
            np.savez_compressed(folder / "flow" / f"{stem}.npz", flow=flow)
            write_mask_png(is_seen, folder / "visible" / f"{stem}.png")

    def _map(self, rows: np.ndarray) -> np.ndarray:
        w, h = self.size
        return rows.reshape(h, w, *rows.shape[1:])


def _write_some(order: Order, numbers: range, folder: Path) -> int:
    film = Film(order)
    for i in numbers:
        film.write(i, folder)
    return len(numbers)


def _write_cameras(order: Order, folder: Path) -> None:
    film = Film(order)
    shots = [film.shot(i) for i in range(film.frames)]
    np.savez(
        folder / "cameras.npz",
        world_from_cam=np.stack([shot.world_from_cam for shot in shots]),
        K=np.stack([shot.k for shot in shots]),
        time=film.recipe.times(film.frames),
    )


def _tell(progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
