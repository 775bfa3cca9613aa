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
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from align3r.datasets.rendered.film import Film, Order
from align3r.datasets.rendered.recipes import VERSION, recipe
from align3r.errors import NoRoomError, UsageError
from align3r.io.png import write_image, write_mask_png
from align3r.io.whole import whole_or_nothing

FORMAT = "align3r rendered sequence"
PARTS = ("images", "depth", "moving", "flow", "visible")


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
        UsageError: The order cannot be filled, the folder is there already, or there is no job.
        InputError: The place cannot be written.
        NoRoomError: The system ended one of the processes.
    """
    order = order.filled()
    if jobs < 1:
        raise UsageError(f"{jobs} processes render nothing", hint="use 1 or more")
    with whole_or_nothing(folder, check=check) as scratch:
        for part in PARTS:
            (scratch / part).mkdir()
        film = Film(order)
        _write_cameras(film, scratch)
        frames = _side_by_side(order, scratch, jobs) if jobs > 1 else _in_turn(film, scratch)
        # Closed before the scratch folder is removed: nobody writes there any more.
        with closing(frames):
            for done in frames:
                if progress is not None:
                    progress(done, film.frames)
        text = json.dumps(described(order), indent=1) + "\n"
        (scratch / "sequence.json").write_text(text, encoding="utf-8")


def _in_turn(film: Film, folder: Path) -> Generator[int, None, None]:
    """Write all frames; how many are done, after each."""
    for i in range(film.frames):
        _write_frame(film, i, folder)
        yield i + 1


def _side_by_side(order: Order, folder: Path, jobs: int) -> Generator[int, None, None]:
    """The same in several processes."""
    # Spawned, for a process that has threads of a library must not be forked.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        try:
            numbers = range(order.frames or 0)
            frames = [pool.submit(_render_frame, order, i, folder) for i in numbers]
            for done, frame in enumerate(as_completed(frames), start=1):
                frame.result()
                yield done
        except BrokenExecutor as error:
            raise NoRoomError(
                f"one of {jobs} processes that render was ended from outside",
                hint='use 1 job; in a script, have the call under `if __name__ == "__main__"`',
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _render_frame(order: Order, i: int, folder: Path) -> None:
    # To build a scene takes a thousandth of the time that a frame of it takes.
    _write_frame(Film(order), i, folder)


def _write_frame(film: Film, i: int, folder: Path) -> None:
    stem, seen = f"{i:04d}", film.seen(i)
    write_image(film.image(i), folder / "images" / f"{stem}.png")
    np.savez_compressed(folder / "depth" / f"{stem}.npz", depth=film.depth(seen))
    write_mask_png(film.moving(seen), folder / "moving" / f"{stem}.png")
    if i + 1 < film.frames:
        flow, is_seen = film.flow(i, seen)
        np.savez_compressed(folder / "flow" / f"{stem}.npz", flow=flow)
        write_mask_png(is_seen, folder / "visible" / f"{stem}.png")


def _write_cameras(film: Film, folder: Path) -> None:
    shots = [film.shot(i) for i in range(film.frames)]
    np.savez(
        folder / "cameras.npz",
        world_from_cam=np.stack([shot.world_from_cam for shot in shots]),
        K=np.stack([shot.k for shot in shots]),
        time=film.recipe.times(film.frames),
    )
