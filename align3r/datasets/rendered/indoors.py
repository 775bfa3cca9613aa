"""Scenes under a roof: furnished room, bare room, table top.

Metres; x right, y down, z forward; the floor is at y = 0 (on a table: the top).
"""

from __future__ import annotations

import numpy as np

from align3r.datasets.rendered.furniture import (
    chair,
    fabric,
    glaze,
    near,
    painted,
    plant,
    printed,
    shell,
    sofa,
    standing,
    table,
    wood,
)
from align3r.datasets.rendered.paints import books, mottled
from align3r.datasets.rendered.poses import still
from align3r.datasets.rendered.raycast import Solid
from align3r.datasets.rendered.shading import Light
from align3r.datasets.rendered.things import seed_of

LAMPLIGHT = Light((-0.40, -1.0, -0.45), ambient=0.74, direct=0.44, shadows=True)
WINDOW = Light((-0.95, -0.85, -0.35), ambient=0.74, direct=0.48, shadows=True)


def furnished_room(rng: np.random.Generator) -> tuple[list[Solid], Light]:
    """A living room of 5.6 by 7 m full of things, seen from its near end."""
    walls = shell((2.8, 1.35, 3.5), rng, coarse=0.35, contrast=0.26)
    oak, cloth, cream = wood(rng, upright=True), fabric(rng), fabric(rng)
    solids = [
        walls,
        standing("box", (0.95, 1.0, 0.18), books(seed=seed_of(rng)), (-1.55, 0, 6.75)),
        standing("box", (0.45, 0.78, 0.18), books(seed=seed_of(rng)), (0.05, 0, 6.75)),
        Solid("box", (0.62, 0.45, 0.02), printed(rng, 0.3), still((1.55, -1.6, 6.95))),
        Solid("box", (0.02, 0.42, 0.60), printed(rng, 0.3), still((-2.76, -1.55, 4.6))),
        Solid("box", (0.02, 0.50, 0.45), printed(rng, 0.25), still((2.76, -1.5, 3.4))),
        standing(
            "box",
            (1.25, 0.008, 0.95),
            printed(rng, 0.22),
            near(rng, (0.1, 0, 4.1), 0.2),
            yaw=float(rng.uniform(-15, 15)),
        ),
        *sofa(cloth, near(rng, (-2.2, 0, 4.3), 0.12)),
        *table(oak, (0.45, 0, 4.3), half=(0.62, 0.40), height=0.48),
        standing("box", (0.14, 0.10, 0.11), printed(rng, 0.1), (0.65, -0.48, 4.4), yaw=25),
        standing("ellipsoid", (0.09, 0.14, 0.09), glaze(rng), (0.25, -0.48, 4.2)),
        standing("box", (0.32, 0.62, 0.26), oak, (2.3, 0, 6.3), yaw=-12),
        standing("ellipsoid", (0.20, 0.26, 0.20), cream, (2.3, -1.24, 6.3)),
        *plant(rng, near(rng, (2.35, 0, 5.0), 0.15)),
        standing(
            "box", (0.22, 0.22, 0.22), printed(rng, 0.14), near(rng, (-1.0, 0, 3.0), 0.2), yaw=30
        ),
        *chair(oak, near(rng, (1.65, 0, 4.9), 0.2), yaw=float(rng.uniform(-90, -30))),
    ]
    return solids, WINDOW


def bare_room(rng: np.random.Generator) -> tuple[list[Solid], Light]:
    """A painted room with hardly anything in it: large even faces, few features."""
    solids = [
        shell((2.6, 1.3, 3.0), rng, coarse=2.2, contrast=0.035, planks=False),
        Solid("box", (0.50, 0.36, 0.02), printed(rng, 0.25), still((-0.9, -1.55, 5.95))),
        standing("box", (0.45, 1.02, 0.03), painted(rng, (0.66, 0.62, 0.56)), (1.2, 0, 5.98)),
        *table(wood(rng), (-1.5, 0, 4.6), half=(0.55, 0.40), height=0.72),
        standing("box", (0.16, 0.12, 0.12), printed(rng, 0.1), (-1.4, -0.72, 4.6), yaw=20),
        *chair(
            wood(rng, upright=True),
            near(rng, (1.7, 0, 4.5), 0.2),
            yaw=float(rng.uniform(0, 60)),
        ),
    ]
    return solids, WINDOW


def table_top(rng: np.random.Generator) -> tuple[list[Solid], Light]:
    """A laid desk seen from near: books, boxes, jars and fruit; the room is far behind."""
    half = (2.6, 1.35, 2.6)
    back = shell(half, rng, coarse=0.35, contrast=0.24).paint
    oak = mottled(
        (0.34, 0.20, 0.10), (0.80, 0.58, 0.36), seed=seed_of(rng), coarse=0.16, stretch=(0.5, 1, 3)
    )
    solids = [
        Solid("room", half, back, still((0.0, -0.6, 0.0))),
        Solid("box", (0.90, 0.02, 0.62), oak, still((0.0, 0.02, 0.0))),
        standing("box", (0.30, 0.002, 0.22), printed(rng, 0.06), (0.18, 0, -0.12), yaw=14),
        standing("box", (0.85, 0.9, 0.17), books(seed=seed_of(rng)), (-0.9, 0.75, 2.3)),
        standing("box", (0.5, 0.5, 0.17), books(seed=seed_of(rng)), (1.1, 0.75, 2.3)),
        standing("box", (0.17, 0.7, 0.85), books(seed=seed_of(rng)), (-2.35, 0.75, 0.2)),
        Solid("box", (0.02, 0.42, 0.60), printed(rng, 0.3), still((2.56, -0.7, -0.3))),
        Solid("box", (0.60, 0.42, 0.02), printed(rng, 0.3), still((0.2, -0.7, -2.56))),
    ]
    level = 0.0
    for k in range(4):
        size = (0.11 - 0.008 * k, float(rng.uniform(0.010, 0.024)), 0.15 - 0.008 * k)
        place = (-0.52, -level, 0.20)
        solids.append(
            standing("box", size, printed(rng, 0.05), place, yaw=float(rng.uniform(-25, 25)))
        )
        level += 2 * size[1]
    solids.append(standing("ellipsoid", (0.045, 0.05, 0.045), glaze(rng), (-0.52, -level, 0.20)))
    spots = [(-0.20, 0.34), (0.10, 0.30), (0.46, 0.30), (0.62, -0.05), (-0.62, -0.22), (0.0, 0.10)]
    for k, (x, z) in enumerate(spots):
        place = (x + float(rng.uniform(-0.04, 0.04)), 0.0, z + float(rng.uniform(-0.04, 0.04)))
        a, b, c = (float(q) for q in rng.uniform([0.05, 0.04, 0.04], [0.08, 0.11, 0.07]))
        if k % 2:
            radius = 0.8 * a
            solids.append(standing("ellipsoid", (radius, b, radius), glaze(rng), place))
        else:
            yaw = float(rng.uniform(-40, 40))
            solids.append(standing("box", (a, b, c), printed(rng, 0.05), place, yaw=yaw))
    return solids, LAMPLIGHT
