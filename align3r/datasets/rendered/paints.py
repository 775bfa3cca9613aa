"""Paint: the colour of a point of a surface, from its place alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from align3r.datasets.rendered.noise import hashed, octaves

Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""paint(points (M, 3) in the solid's own frame; size (M,) of a pixel there, metres) -> (M, 3)."""
Colour = tuple[float, float, float]
Place = tuple[float, float, float]


def mottled(
    dark: Colour, light: Colour, *, seed: int, coarse: float, stretch: Place = (1.0, 1.0, 1.0)
) -> Paint:
    """Two colours mixed by noise; `stretch` > 1 makes the grain finer along that axis."""

    def paint(points: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
        grain = pixel_m * max(stretch)
        noise = octaves(points * np.array(stretch), grain, seed=seed, coarse=coarse)
        mix = np.clip(0.5 + 0.42 * noise, 0.0, 1.0)[:, None]
        return np.array(dark) * (1 - mix) + np.array(light) * mix

    return paint


def patches(colours: list[Colour], *, seed: int, coarse: float) -> Paint:
    """Crisp blobs of several colours, as on a printed poster or a patterned rug."""
    table = np.array(colours)

    def paint(points: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
        shape = octaves(points, pixel_m, seed=seed, coarse=coarse, count=3)
        pick = np.clip((shape * 0.5 + 0.5) * len(table), 0, len(table) - 1).astype(int)
        fine = octaves(points, pixel_m, seed=seed + 1, coarse=coarse / 6, count=4)
        return np.asarray(table[pick] * (1 + 0.22 * fine)[:, None])

    return paint


def books(*, seed: int, shelf_m: float = 0.30, spine_m: float = 0.055) -> Paint:
    """Book spines of random colour and width on dark shelves."""

    def paint(points: np.ndarray, pixel_m: np.ndarray) -> np.ndarray:
        row = np.floor(points[:, 1] / shelf_m)
        height = points[:, 1] / shelf_m - row
        cells = np.stack([points[:, 0] / spine_m, row, np.zeros_like(row)], -1)
        wavy = cells[:, 0] + 0.9 * octaves(
            np.stack([points[:, 0], row * 3.7, 0 * row], -1),
            pixel_m,
            seed=seed,
            coarse=0.17,
            count=2,
        )
        spine = np.stack([np.floor(wavy), row, np.zeros_like(row)], -1)
        colour = np.stack([0.15 + 0.75 * hashed(spine, seed + c) for c in (1, 2, 3)], -1)
        top = 0.16 + 0.2 * hashed(spine, seed + 4)
        label = (np.abs(height - 0.45 - 0.2 * hashed(spine, seed + 5)) < 0.06)[:, None]
        colour = np.where(label, 1.0 - 0.8 * colour, colour)
        colour = np.where((height < top)[:, None], 0.10, colour)
        colour = np.where((height > 0.93)[:, None], np.array([0.42, 0.28, 0.16]), colour)
        return colour * (1 + 0.18 * octaves(points, pixel_m, seed=seed + 6, coarse=0.06))[:, None]

    return paint
