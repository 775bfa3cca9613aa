"""Furniture and the stuff it is made of.

Metres; x right, y down, z forward.
"""

from __future__ import annotations

import numpy as np

from align3r.datasets.rendered.paints import Colour, Paint, Place, mottled, patches
from align3r.datasets.rendered.patterns import by_face, tiles
from align3r.datasets.rendered.poses import still
from align3r.datasets.rendered.raycast import Solid
from align3r.datasets.rendered.things import bright, seed_of, tinted

_DARK: Colour = (0.14, 0.11, 0.08)


def standing(kind: str, half: Place, paint: Paint, place: Place, *, yaw: float = 0.0) -> Solid:
    """A solid that stays where it is; `place` is the middle of its lower side."""
    x, y, z = place
    return Solid(kind, half, paint, still((x, y - half[1], z), yaw))


def near(rng: np.random.Generator, place: Place, by: float) -> Place:
    """A place on the same height, at most `by` metres away along x and z."""
    x, z = rng.uniform(-by, by, 2)
    return place[0] + float(x), place[1], place[2] + float(z)


def shell(
    half: Place, rng: np.random.Generator, *, coarse: float, contrast: float, planks: bool = True
) -> Solid:
    """Walls, ceiling and floor; `contrast` 0 is plain paint."""
    tone = rng.uniform([0.70, 0.68, 0.62], [0.86, 0.84, 0.78])
    base: Colour = (float(tone[0]), float(tone[1]), float(tone[2]))
    walls = [
        mottled(tinted(base, 1 - contrast), tinted(base, 1.06), seed=seed_of(rng), coarse=coarse)
        for _ in range(2)
    ]
    ceiling = mottled((0.86, 0.85, 0.82), (0.91, 0.90, 0.88), seed=seed_of(rng), coarse=1.2)
    floor: Paint = mottled((0.46, 0.44, 0.42), (0.54, 0.52, 0.49), seed=seed_of(rng), coarse=0.9)
    if planks:
        floor = tiles(
            wood(rng), _DARK, axes=(2, 0), cell=(1.3, 0.14), seed=seed_of(rng), shift=0.37
        )
    faces = {"x": walls[0], "z": walls[1], "up": ceiling, "down": floor}
    return Solid("room", half, by_face(half, faces), still((0.0, -half[1], half[2])))


def wood(rng: np.random.Generator, *, upright: bool = False) -> Paint:
    """Planed wood, lighter or darker; its grain runs along z, or upwards."""
    level = float(rng.uniform(0.8, 1.25))
    return mottled(
        tinted((0.30, 0.18, 0.09), level),
        tinted((0.66, 0.45, 0.27), level),
        seed=seed_of(rng),
        coarse=0.35,
        stretch=(3.2, 0.45, 2.2) if upright else (3.2, 1.0, 0.6),
    )


def painted(rng: np.random.Generator, colour: Colour, contrast: float = 0.06) -> Paint:
    """Paint on a wall or a door, not quite even."""
    dark, light = tinted(colour, 1 - contrast), tinted(colour, 1 + contrast)
    return mottled(dark, light, seed=seed_of(rng), coarse=0.8)


def fabric(rng: np.random.Generator) -> Paint:
    """Cloth of one colour."""
    colour = bright(rng)
    return mottled(tinted(colour, 0.5), tinted(colour, 1.2), seed=seed_of(rng), coarse=0.15)


def glaze(rng: np.random.Generator) -> Paint:
    """A glazed or painted thing of one colour."""
    colour = bright(rng)
    return mottled(tinted(colour, 0.7), tinted(colour, 1.4), seed=seed_of(rng), coarse=0.06)


def printed(rng: np.random.Generator, coarse: float) -> Paint:
    """A picture, a patterned rug, a printed box."""
    colours = [bright(rng), bright(rng), (0.93, 0.90, 0.82), (0.16, 0.16, 0.20)]
    return patches(colours, seed=seed_of(rng), coarse=coarse)


def cartons(rng: np.random.Generator) -> Paint:
    """Brown cardboard with dark labels."""
    level = float(rng.uniform(0.85, 1.15))
    brown = mottled(
        tinted((0.54, 0.40, 0.25), level),
        tinted((0.76, 0.60, 0.41), level),
        seed=seed_of(rng),
        coarse=0.30,
        stretch=(1, 4, 1),
    )
    tape: Colour = (0.80, 0.72, 0.55)
    return tiles(brown, tape, axes=(2, 1), cell=(0.62, 0.55), seed=seed_of(rng), joint_m=0.03)


def table(oak: Paint, place: Place, *, half: tuple[float, float], height: float) -> list[Solid]:
    """A table on four legs."""
    x, y, z = place
    feet = [(sx * (half[0] - 0.06), sz * (half[1] - 0.06)) for sx in (-1, 1) for sz in (-1, 1)]
    legs = [
        standing("box", (0.03, height / 2 - 0.02, 0.03), oak, (x + a, y, z + b)) for a, b in feet
    ]
    return [standing("box", (half[0], 0.025, half[1]), oak, (x, y - height + 0.05, z)), *legs]


def chair(oak: Paint, place: Place, *, yaw: float) -> list[Solid]:
    """A chair with a back."""
    x, y, z = place
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))

    def part(half: Place, a: float, up: float, b: float) -> Solid:
        return standing("box", half, oak, (x + c * a + s * b, y - up, z - s * a + c * b), yaw=yaw)

    legs = [part((0.022, 0.225, 0.022), a, 0, b) for a in (-0.19, 0.19) for b in (-0.19, 0.19)]
    return [part((0.22, 0.02, 0.22), 0, 0.45, 0), part((0.22, 0.24, 0.02), 0, 0.49, 0.2), *legs]


def sofa(cloth: Paint, place: Place) -> list[Solid]:
    """A sofa along z that looks to the right."""
    x, y, z = place
    return [
        standing("box", (0.44, 0.21, 0.95), cloth, (x, y, z)),
        standing("box", (0.11, 0.42, 0.95), cloth, (x - 0.40, y, z)),
        *(standing("box", (0.44, 0.31, 0.11), cloth, (x, y, z + e)) for e in (-0.95, 0.95)),
    ]


def plant(rng: np.random.Generator, place: Place) -> list[Solid]:
    """A plant in a pot."""
    x, y, z = place
    leaf = patches(
        [(0.10, 0.24, 0.08), (0.20, 0.42, 0.14), (0.36, 0.56, 0.24)], seed=seed_of(rng), coarse=0.09
    )
    leaves = [
        Solid(
            "ellipsoid",
            (0.17, 0.13, 0.17),
            leaf,
            still((x + float(a), y - 0.62 - 0.16 * k, z + float(b))),
        )
        for k, (a, b) in enumerate(rng.uniform(-0.11, 0.11, (4, 2)))
    ]
    return [standing("ellipsoid", (0.17, 0.25, 0.17), glaze(rng), place), *leaves]


def door(rng: np.random.Generator, side: float, z: float) -> list[Solid]:
    """A door of a corridor, at its side -1 or 1."""
    leaf, frame = wood(rng, upright=True), painted(rng, (0.36, 0.38, 0.40))
    steel = mottled((0.6, 0.6, 0.6), (0.85, 0.85, 0.85), seed=seed_of(rng), coarse=0.05)
    return [
        standing("box", (0.03, 1.06, 0.52), frame, (1.29 * side, 0, z)),
        standing("box", (0.045, 1.02, 0.45), leaf, (1.29 * side, 0, z)),
        Solid("box", (0.08, 0.012, 0.05), steel, still((1.25 * side, -1.0, z + 0.36))),
    ]


def rack(rng: np.random.Generator, place: Place, yaw: float) -> list[Solid]:
    """A rack of three shelves, 5 m long along z (before it is turned), with rows of cartons."""
    x, y, z = place
    blue = mottled((0.12, 0.22, 0.42), (0.28, 0.40, 0.64), seed=seed_of(rng), coarse=0.5)
    c, s = np.cos(np.radians(yaw)), np.sin(np.radians(yaw))

    def part(half: Place, paint: Paint, at: Place) -> Solid:
        a, up, b = at
        return standing("box", half, paint, (x + c * a + s * b, y - up, z - s * a + c * b), yaw=yaw)

    solids = [part((0.05, 2.2, 0.05), blue, (a, 0, b)) for a in (-0.5, 0.5) for b in (-2.5, 0, 2.5)]
    for level in (0.15, 1.6, 3.05):
        solids.append(part((0.55, 0.05, 2.55), blue, (0, level, 0)))
        edge = -2.4
        while edge < 2.0:
            length, height = float(rng.uniform(0.25, 0.5)), float(rng.uniform(0.22, 0.52))
            if rng.random() < 0.85:
                paint = cartons(rng) if rng.random() < 0.6 else printed(rng, 0.3)
                depth = float(rng.uniform(0.36, 0.48))
                solids.append(part((depth, height, length), paint, (0, level + 0.1, edge + length)))
            edge += 2 * length + 0.06
    return solids
