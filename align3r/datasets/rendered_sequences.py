"""The rendered benchmark: sequences with exact truth that are rendered when they are first read.

The root is a cache; each sequence is a folder in it, of the layout in `rendered/writing.py`. A
sequence of seed 0 has the name of its recipe: `street_walk`; others have the seed in theirs:
`street_walk/7`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from align3r.datasets.rendered.film import Order
from align3r.datasets.rendered.recipes import BY_NAME
from align3r.datasets.rendered.writing import FORMAT, PARTS, described, render_sequence
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.errors import InputError, UsageError
from align3r.io.arrays import read_npz
from align3r.io.files import read_json
from align3r.io.lock import one_run_at_a_time
from align3r.io.png import read_mask_png

log = logging.getLogger(__name__)

_FILES = frozenset({"sequence.json", "cameras.npz", *PARTS})


def names(root: Path, *, seeds: Iterable[int] = (0,), **_settings: Any) -> list[str]:
    """The sequences that can be had, sorted; those that are not in `root` yet are rendered later.

    Args:
        root: The cache.
        seeds: Seed 0 is the benchmark, others are to train on.
    """
    return sorted(name if seed == 0 else f"{name}/{seed}" for name in BY_NAME for seed in seeds)


def read(
    root: Path,
    name: str,
    *,
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    jobs: int = 1,
    **_settings: Any,
) -> Sequence:
    """A sequence; it is rendered first if `root` has it not, or has it of an older recipe.

    Args:
        root: The cache.
        name: As in `names`.
        size: (width, height), pixels; None: as the recipe says.
        frames: None: as the recipe says.
        jobs: Processes that render side by side.

    Raises:
        UsageError: There is no such sequence, or another run is rendering it.
        InputError: A folder in its place is none of ours or is not whole, or cannot be written.
    """
    order = _order(name, size, frames).filled()
    folder = root / _folder_name(order)
    if _needs_rendering(folder, order):
        with one_run_at_a_time(folder):
            if _needs_rendering(folder, order):  # Another run may have rendered it just before.
                log.info("rendering %s into %s", name, folder)
                render_sequence(order, folder, jobs=jobs, check=partial(_check_ours, folder))
    return _read(folder, name, order)


def _order(name: str, size: tuple[int, int] | None, frames: int | None) -> Order:
    scene, _, seed = name.partition("/")
    if seed and not (seed.isascii() and seed.isdecimal() and len(seed) < 10):
        raise UsageError(
            f"{name!r} has no seed after the /", hint="a sequence is NAME or NAME/SEED"
        )
    return Order(scene, int(seed or 0), size, frames)


def _folder_name(order: Order) -> str:
    assert order.size is not None
    width, height = order.size
    return f"{order.name}-{order.seed}-{width}x{height}-{order.frames}"


def _needs_rendering(folder: Path, order: Order) -> bool:
    """Whether the folder is missing, or of another recipe.

    Raises:
        InputError: It is none of ours, or it is of this recipe and not whole.
    """
    if not folder.exists() and not folder.is_symlink():
        return True
    _check_ours(folder)
    return bool(read_json(folder / "sequence.json") != described(order))


def _check_ours(folder: Path) -> None:
    """Refuse to touch what was not rendered here.

    Raises:
        InputError: The folder is something else, or holds something besides.
    """
    if not folder.exists() and not folder.is_symlink():
        return
    way_out = "move it away, or choose another folder for the rendered sequences"
    if folder.is_symlink() or not folder.is_dir():
        raise InputError(f"{folder} is not a folder", hint=way_out)
    others = sorted(path.name for path in folder.iterdir() if path.name not in _FILES)
    if others:
        raise InputError(f"{folder} holds {others[0]}, which was not rendered", hint=way_out)
    try:
        about = read_json(folder / "sequence.json")
    except (InputError, ValueError) as error:
        raise InputError(f"{folder} is no rendered sequence: {error}", hint=way_out) from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(f"{folder} is no rendered sequence", hint=way_out)


def _read(folder: Path, name: str, order: Order) -> Sequence:
    assert order.size is not None and order.frames is not None
    stems = [f"{i:04d}" for i in range(order.frames)]
    _check_whole(folder, stems)
    try:
        cameras = read_npz(folder / "cameras.npz", ("world_from_cam", "K", "time"))
    except ValueError as error:
        raise _damaged(folder / "cameras.npz", error) from error
    n = order.frames
    shapes = [cameras[key].shape for key in ("world_from_cam", "K", "time")]
    if shapes != [(n, 4, 4), (n, 3, 3), (n,)]:
        raise _damaged(folder / "cameras.npz", f"its arrays have the shapes {shapes}")
    width, height = order.size

    def flow(i: int) -> np.ndarray:
        if i == n - 1:
            return np.full((height, width, 2), np.nan, np.float32)
        return _map(folder / "flow" / f"{stems[i]}.npz", "flow", (height, width, 2))

    truth = Truth(
        world_from_cam=cameras["world_from_cam"],
        intrinsics=cameras["K"],
        times=cameras["time"],
        size=order.size,
        depth=lambda i: _map(folder / "depth" / f"{stems[i]}.npz", "depth", (height, width)),
        moving=lambda i: read_mask_png(folder / "moving" / f"{stems[i]}.png"),
        flow=flow,
    )
    images = tuple(folder / "images" / f"{stem}.png" for stem in stems)
    return Sequence("rendered", name, tuple(stems), truth, images)


def _check_whole(folder: Path, stems: list[str]) -> None:
    for part in PARTS:
        suffix = ".npz" if part in ("depth", "flow") else ".png"
        wanted = stems[:-1] if part in ("flow", "visible") else stems
        missing = [stem for stem in wanted if not (folder / part / f"{stem}{suffix}").is_file()]
        if missing:
            raise InputError(
                f"{folder} lacks {len(missing)} of its {len(wanted)} files in {part}, the first "
                f"of them {missing[0]}{suffix}",
                hint="remove that folder; it is rendered again",
            )


def _map(path: Path, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array of a file of the cache.

    Raises:
        InputError: It cannot be read, or is of another shape.
    """
    try:
        array = read_npz(path, (name,))[name]
    except ValueError as error:
        raise _damaged(path, error) from error
    if array.shape != shape or array.dtype != np.float32:
        raise _damaged(path, f"it holds {array.dtype} of shape {array.shape}, not {shape}")
    return array


def _damaged(path: Path, reason: object) -> InputError:
    return InputError(f"{path} is damaged: {reason}", hint="remove its sequence's folder")
