"""Long and large scenes under a roof: a corridor and a store.

Metres; x right, y down, z forward; the floor is at y = 0.
"""

from __future__ import annotations

import numpy as np

from align3r.datasets.rendered.furniture import (
    cartons,
    door,
    near,
    painted,
    plant,
    printed,
    rack,
    standing,
    wood,
)
from align3r.datasets.rendered.paints import Colour, Paint, Place, mottled
from align3r.datasets.rendered.patterns import by_face, tiles
from align3r.datasets.rendered.poses import still
from align3r.datasets.rendered.raycast import Solid
from align3r.datasets.rendered.shading import Light
from align3r.datasets.rendered.things import seed_of


def corridor(rng: np.random.Generator) -> tuple[list[Solid], Light]:
    """A corridor of an office, 2.6 m wide and 26 m long, with doors, notices and lamps."""
    half = (1.3, 1.3, 13.5)
    wall = painted(rng, (0.80, 0.79, 0.72), contrast=0.10)
    floor = tiles(
        mottled((0.40, 0.42, 0.42), (0.62, 0.62, 0.60), seed=seed_of(rng), coarse=0.25),
        (0.30, 0.30, 0.30),
        axes=(0, 2),
        cell=(0.52, 0.52),
        seed=seed_of(rng),
        vary=0.16,
    )
    panels = tiles(
        mottled((0.80, 0.80, 0.78), (0.90, 0.90, 0.88), seed=seed_of(rng), coarse=0.1),
        (0.55, 0.55, 0.54),
        axes=(0, 2),
        cell=(0.65, 0.65),
        seed=seed_of(rng),
        vary=0.05,
    )
    shell = by_face(half, {"x": wall, "z": wall, "up": panels, "down": floor})
    solids = [Solid("room", half, shell, still((0.0, -1.3, 11.5)))]
    wainscot = painted(rng, (0.45, 0.50, 0.50), contrast=0.12)
    lamp = mottled((1.25, 1.25, 1.2), (1.4, 1.4, 1.35), seed=seed_of(rng), coarse=0.5)
    for side in (-1.0, 1.0):
        solids.append(standing("box", (0.012, 0.06, 13.4), wainscot, (1.29 * side, 0, 11.5)))
        solids += _doors(rng, side)
    solids += [
        Solid("box", (0.16, 0.02, 0.6), lamp, still((0.0, -2.585, z))) for z in range(1, 24, 3)
    ]
    solids += [
        standing("box", (0.28, 0.45, 0.22), wood(rng, upright=True), (-0.95, 0, 5.2)),
        *plant(rng, (0.98, 0, 7.6)),
        standing("box", (0.20, 0.60, 0.30), printed(rng, 0.2), (1.05, 0, 12.4)),
        *plant(rng, (-0.95, 0, 14.0)),
        Solid("box", (0.6, 1.0, 0.02), printed(rng, 0.4), still((0.0, -1.2, 24.95))),
    ]
    return solids, Light((0.12, -1.0, -0.35), ambient=0.70, direct=0.36, shadows=True)


def _doors(rng: np.random.Generator, side: float) -> list[Solid]:
    """The doors of one side of the corridor, with notices between them."""
    solids: list[Solid] = []
    for k, z in enumerate(np.arange(1.4, 23.0, 3.1) + (0.0 if side < 0 else 1.3)):
        solids += door(rng, side, float(z))
        if rng.random() < 0.75 or k < 2:
            size = (0.015, float(rng.uniform(0.22, 0.40)), float(rng.uniform(0.3, 0.5)))
            place = (1.285 * side, -1.5, float(z) + 1.5)
            solids.append(Solid("box", size, printed(rng, 0.14), still(place)))
    return solids


def store(rng: np.random.Generator) -> tuple[list[Solid], Light]:
    """A store of 16 by 24 m: racks full of cartons, columns, pallets on a concrete floor."""
    half = (8.0, 3.0, 12.0)
    bricks = _bricks(rng, (0.50, 0.42, 0.37), (0.78, 0.70, 0.62), along=0)
    other = _bricks(rng, (0.50, 0.44, 0.38), (0.76, 0.70, 0.62), along=2)
    concrete = mottled((0.34, 0.34, 0.33), (0.66, 0.65, 0.62), seed=seed_of(rng), coarse=1.1)
    sheet = tiles(
        mottled((0.50, 0.52, 0.54), (0.64, 0.66, 0.68), seed=seed_of(rng), coarse=0.9),
        (0.30, 0.31, 0.32),
        axes=(2, 0),
        cell=(3.0, 0.5),
        seed=seed_of(rng),
        joint_m=0.04,
    )
    paint = by_face(half, {"x": other, "z": bricks, "up": sheet, "down": concrete})
    solids = [Solid("room", half, paint, still((0.0, -3.0, 6.0)))]
    for x, z, yaw in ((-5.0, 5.0, 0), (-5.0, 11.0, 0), (5.2, 5.0, 0), (5.2, 11.0, 0), (0, 16, 90)):
        solids += rack(rng, (float(x), 0.0, float(z)), float(yaw))
    yellow = mottled((0.62, 0.50, 0.10), (0.92, 0.76, 0.20), seed=seed_of(rng), coarse=0.5)
    steel = mottled((0.40, 0.42, 0.44), (0.62, 0.64, 0.66), seed=seed_of(rng), coarse=0.5)
    for x in (-2.6, 2.8):
        for z in (1.5, 8.0, 13.5):
            solids.append(standing("box", (0.14, 3.0, 0.14), steel, (x, 0, z)))
            solids.append(standing("box", (0.18, 0.5, 0.18), yellow, (x, 0, z)))
    for x, z in ((-1.3, 9.8), (1.2, 12.4), (-3.4, 1.0), (3.8, 0.8)):
        solids += _pallet(rng, near(rng, (x, 0.0, z), 0.25))
    return solids, Light((-0.45, -1.0, -0.50), ambient=0.64, direct=0.44, shadows=True)


def _bricks(rng: np.random.Generator, dark: Colour, light: Colour, *, along: int) -> Paint:
    """A wall of large blocks along an axis."""
    return tiles(
        mottled(dark, light, seed=seed_of(rng), coarse=0.6),
        (0.42, 0.40, 0.37),
        axes=(along, 1),
        cell=(0.8, 0.4),
        seed=seed_of(rng),
        shift=0.5,
        joint_m=0.03,
    )


def _pallet(rng: np.random.Generator, place: Place) -> list[Solid]:
    """A pallet with a load of cartons, which is not quite straight."""
    x, _, z = place
    boards = standing("box", (0.6, 0.07, 0.5), wood(rng), place, yaw=10)
    load, yaw = cartons(rng), float(rng.uniform(0, 25))
    return [boards, standing("box", (0.5, 0.36, 0.42), load, (x, -0.14, z), yaw=yaw)]
