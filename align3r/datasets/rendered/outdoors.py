"""Scenes under the sky: a street and a park.

Metres; x right, y down, z forward; the ground is at y = 0.
"""

from __future__ import annotations

import numpy as np

from align3r.datasets.rendered.furniture import standing
from align3r.datasets.rendered.paints import Colour, Paint, Place, mottled, patches
from align3r.datasets.rendered.patterns import by_face, facade, road, sky, tiles
from align3r.datasets.rendered.poses import still
from align3r.datasets.rendered.raycast import Solid
from align3r.datasets.rendered.shading import Light
from align3r.datasets.rendered.things import Mover, parked, seed_of, tinted

SUN = Light((-0.55, -0.95, -0.62), ambient=0.56, direct=0.58, shadows=True)
_SKY_M = 4000.0
_WALLS: tuple[Colour, ...] = (
    (0.72, 0.60, 0.46),
    (0.66, 0.40, 0.32),
    (0.78, 0.74, 0.64),
    (0.52, 0.54, 0.56),
    (0.80, 0.66, 0.44),
)


def street(rng: np.random.Generator) -> tuple[list[Solid], Light]:
    """A road between house fronts with parked cars, trees and lamps; a house ends it."""
    solids = [
        _heaven(rng),
        standing("box", (9.0, 0.5, 60.0), road(half_width=3.6, seed=seed_of(rng)), (0, 1.0, 40)),
    ]
    for side in (-1.0, 1.0):
        z = -14.0
        while z < 56:
            depth, height = float(rng.uniform(3.5, 6.0)), float(rng.uniform(4.0, 7.5))
            solids += _house(rng, (8.6 * side, 0, z + depth), (2.6, height, depth - 0.02), axis=2)
            z += 2 * depth
    solids += _house(rng, (0.0, 0, 58.0), (11.0, 7.0, 3.0), axis=0)
    for z in (6.0, 13.0, 21.0, 30.0):
        solids += _lamp_post(rng, (-4.1, 0, z))
        solids += tree(rng, (4.6, 0, z + 2.5), size=float(rng.uniform(0.8, 1.1)))
    for x, z in ((-2.85, 9.5), (-2.85, 15.5), (2.85, 12.0), (2.85, 19.0), (2.85, 27.0)):
        solids += parked(Mover("car", (x, 0, z + float(rng.uniform(-0.8, 0.8)))), rng)
    solids += [
        standing("box", (0.35, 0.55, 0.35), _posters(rng), (-5.1, 0, 7.0), yaw=10),
        standing("box", (0.08, 0.9, 0.6), _posters(rng), (5.4, 0, 8.2)),
        standing("box", (0.3, 0.45, 0.3), _posters(rng), (5.2, 0, 16.0), yaw=20),
    ]
    return solids, SUN


def park(rng: np.random.Generator) -> tuple[list[Solid], Light]:
    """A lawn with a path, trees, benches and a fountain's basin; houses stand behind it."""
    grass = mottled((0.13, 0.25, 0.07), (0.46, 0.58, 0.24), seed=seed_of(rng), coarse=0.8)
    gravel = mottled((0.50, 0.45, 0.37), (0.80, 0.74, 0.64), seed=seed_of(rng), coarse=0.3)
    stone = mottled((0.46, 0.45, 0.42), (0.74, 0.72, 0.68), seed=seed_of(rng), coarse=0.3)
    hedge = _foliage(rng, 0.22)
    solids = [
        _heaven(rng),
        standing("box", (45, 0.5, 45), grass, (0, 1.0, 10)),
        standing("box", (1.1, 0.006, 30), gravel, (-1.6, 0, 10), yaw=14),
        standing("box", (16, 0.006, 0.9), gravel, (0, 0, 9.6), yaw=-4),
        standing("box", (0.75, 0.30, 0.75), stone, (0.3, 0, 6.2), yaw=20),
        standing("ellipsoid", (0.42, 0.50, 0.42), stone, (0.3, -0.55, 6.2)),
        standing("box", (12, 0.7, 0.4), hedge, (-6, 0, 20), yaw=3),
        standing("box", (0.4, 0.7, 9), hedge, (9.5, 0, 10), yaw=4),
    ]
    for x, z in ((-4.2, 8.5), (3.6, 9.0), (-5.5, 13.5), (1.8, 14.5), (6.3, 13.0), (-7.5, 4.0)):
        place = (x + float(rng.uniform(-0.4, 0.4)), 0.0, z + float(rng.uniform(-0.4, 0.4)))
        solids += tree(rng, place, size=float(rng.uniform(0.9, 1.4)))
    for x, z, yaw in ((-2.9, 6.6, 75.0), (2.9, 5.4, -50.0)):
        solids += _bench(rng, (x, 0, z), yaw)
    for k in range(-6, 7):
        height = float(rng.uniform(3.5, 6.5))
        solids += _house(rng, (9.0 * k, 0, 40.0), (4.4, height, 3.0), axis=0)
    for z in (-20.0, -11.0, -2.0, 7.0, 16.0, 25.0):
        for side in (-1, 1):
            height = float(rng.uniform(3.5, 6.5))
            solids += _house(rng, (30.0 * side, 0, z), (3.0, height, 4.4), axis=2)
    return solids, SUN


def tree(rng: np.random.Generator, place: Place, *, size: float) -> list[Solid]:
    """A tree of about 4.5 m times `size`."""
    x, y, z = place
    bark = mottled(
        (0.16, 0.11, 0.07), (0.46, 0.36, 0.26), seed=seed_of(rng), coarse=0.25, stretch=(3, 0.6, 3)
    )
    leaf = _foliage(rng, 0.34 * size)
    crown = []
    for a, b, c in rng.uniform(-0.55, 0.55, (5, 3)):
        half = (
            float(rng.uniform(0.6, 0.95)),
            float(rng.uniform(0.5, 0.8)),
            float(rng.uniform(0.6, 0.95)),
        )
        middle = (x + size * float(a), y - size * (3.1 + float(b)), z + size * float(c))
        crown.append(
            Solid(
                "ellipsoid", (size * half[0], size * half[1], size * half[2]), leaf, still(middle)
            )
        )
    return [standing("ellipsoid", (0.14 * size, 1.5 * size, 0.14 * size), bark, place), *crown]


def _heaven(rng: np.random.Generator) -> Solid:
    half = (_SKY_M, _SKY_M, _SKY_M)
    return Solid("room", half, sky(seed=seed_of(rng)), is_sky=True)


def _foliage(rng: np.random.Generator, coarse: float) -> Paint:
    greens: list[Colour] = [(0.10, 0.21, 0.06), (0.20, 0.36, 0.11), (0.34, 0.50, 0.18)]
    level = float(rng.uniform(0.85, 1.2))
    return patches([tinted(g, level) for g in greens], seed=seed_of(rng), coarse=coarse)


def _posters(rng: np.random.Generator) -> Paint:
    colours: list[Colour] = [
        (0.92, 0.86, 0.70),
        (0.75, 0.25, 0.18),
        (0.14, 0.26, 0.44),
        (0.2, 0.4, 0.3),
    ]
    return patches(colours, seed=seed_of(rng), coarse=0.25)


def _house(
    rng: np.random.Generator,
    place: Place,
    half: Place,
    *,
    axis: int,
) -> list[Solid]:
    """A house with a front along `axis` (0 or 2) and a roof edge; `place` is on the ground."""
    colour = tinted(_WALLS[int(rng.integers(len(_WALLS)))], float(rng.uniform(0.85, 1.12)))
    plaster = mottled(tinted(colour, 0.72), tinted(colour, 1.1), seed=seed_of(rng), coarse=0.8)
    if rng.random() < 0.5:
        plaster = tiles(
            plaster,
            tinted(colour, 0.6),
            axes=(axis, 1),
            cell=(0.5, 0.22),
            seed=seed_of(rng),
            shift=0.5,
            joint_m=0.025,
        )
    front = facade(
        plaster,
        axis=axis,
        storey=float(rng.uniform(2.7, 3.3)),
        bay=float(rng.uniform(1.9, 2.8)),
        seed=seed_of(rng),
    )
    name = "x" if axis == 2 else "z"
    slate = mottled((0.20, 0.18, 0.18), (0.42, 0.36, 0.34), seed=seed_of(rng), coarse=0.5)
    edge = (half[0] + 0.18, 0.16, half[2])
    return [
        standing("box", half, by_face(half, {name: front, "rest": plaster}), place),
        standing("box", edge, slate, (place[0], place[1] - 2 * half[1], place[2])),
    ]


def _lamp_post(rng: np.random.Generator, place: Place) -> list[Solid]:
    x, y, z = place
    iron = mottled((0.08, 0.10, 0.10), (0.26, 0.30, 0.30), seed=seed_of(rng), coarse=0.2)
    glass = mottled((0.85, 0.84, 0.76), (1.0, 0.99, 0.92), seed=seed_of(rng), coarse=0.2)
    return [
        standing("box", (0.06, 2.0, 0.06), iron, place),
        standing("box", (0.12, 0.2, 0.12), iron, place),
        standing("ellipsoid", (0.20, 0.24, 0.20), glass, (x, y - 4.0, z)),
    ]


def _bench(rng: np.random.Generator, place: Place, yaw: float) -> list[Solid]:
    x, y, z = place
    wood = mottled(
        (0.28, 0.17, 0.09), (0.62, 0.42, 0.25), seed=seed_of(rng), coarse=0.3, stretch=(0.6, 3, 3)
    )
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))
    feet = [
        standing("box", (0.04, 0.21, 0.2), wood, (x + c * a, y, z - s * a), yaw=yaw)
        for a in (-0.7, 0.7)
    ]
    return [
        *feet,
        standing("box", (0.85, 0.03, 0.23), wood, (x, y - 0.42, z), yaw=yaw),
        standing("box", (0.85, 0.18, 0.025), wood, (x + 0.21 * s, y - 0.55, z + 0.21 * c), yaw=yaw),
    ]
