"""The room of the example clip: furniture, a figure that walks through it and a bouncing ball.

Room frame in metres: x right, y down, z forward; the floor is at y = 1.3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from align3r.datasets.rendered.paints import Paint, Place, books, mottled, patches
from align3r.datasets.rendered.patterns import by_face
from align3r.datasets.rendered.poses import at, still
from align3r.datasets.rendered.raycast import Solid

FLOOR = 1.3


def walls(half: Place) -> Paint:
    """Wooden floor, nearly plain ceiling, papered back and side walls."""
    wood = mottled(
        (0.30, 0.18, 0.09), (0.75, 0.54, 0.34), seed=3, coarse=0.7, stretch=(3.2, 1, 0.7)
    )
    ceiling = mottled((0.86, 0.85, 0.82), (0.90, 0.89, 0.87), seed=4, coarse=1.2)
    back = mottled((0.38, 0.47, 0.50), (0.83, 0.80, 0.68), seed=5, coarse=0.55)
    side = mottled((0.60, 0.50, 0.42), (0.90, 0.82, 0.74), seed=6, coarse=0.8)
    return by_face(half, {"x": side, "z": back, "up": ceiling, "down": wood})


def furniture() -> list[Solid]:
    """What stands in the room."""
    oak = mottled((0.26, 0.14, 0.06), (0.66, 0.42, 0.22), seed=11, coarse=0.4, stretch=(0.6, 3, 3))
    cloth = mottled((0.13, 0.20, 0.34), (0.45, 0.55, 0.72), seed=12, coarse=0.16)
    poster = [(0.92, 0.86, 0.70), (0.80, 0.25, 0.16), (0.12, 0.24, 0.42), (0.95, 0.70, 0.20)]
    rug = [(0.45, 0.10, 0.10), (0.80, 0.68, 0.48), (0.20, 0.16, 0.22), (0.66, 0.32, 0.18)]
    carton = patches(
        [(0.70, 0.54, 0.35), (0.60, 0.45, 0.28), (0.2, 0.2, 0.2)], seed=14, coarse=0.13
    )
    pot = mottled((0.10, 0.30, 0.26), (0.55, 0.80, 0.66), seed=15, coarse=0.12)
    cream = mottled((0.92, 0.88, 0.78), (0.97, 0.94, 0.86), seed=16, coarse=0.3)
    legs = [
        Solid("box", (0.035, 0.345, 0.035), oak, still((0.95 + x, FLOOR - 0.345, 2.55 + z)))
        for x in (-0.5, 0.5)
        for z in (-0.33, 0.33)
    ]
    return [
        Solid("box", (0.85, 0.85, 0.17), books(seed=21), still((-1.25, FLOOR - 0.85, 4.4))),
        Solid(
            "box",
            (0.55, 0.40, 0.02),
            patches(poster, seed=22, coarse=0.3),
            still((0.75, -0.4, 4.58)),
        ),
        Solid(
            "box",
            (0.95, 0.01, 0.75),
            patches(rug, seed=23, coarse=0.22),
            still((-0.2, FLOOR, 2.3), 12),
        ),
        Solid("box", (0.58, 0.03, 0.40), oak, still((0.95, FLOOR - 0.72, 2.55))),
        *legs,
        Solid("ellipsoid", (0.10, 0.19, 0.10), pot, still((0.78, FLOOR - 0.94, 2.45))),
        Solid("box", (0.15, 0.10, 0.11), carton, still((1.2, FLOOR - 0.85, 2.6), 25)),
        Solid("box", (0.42, 0.22, 0.80), cloth, still((-1.85, FLOOR - 0.22, 2.3))),
        Solid("box", (0.10, 0.42, 0.80), cloth, still((-2.25, FLOOR - 0.42, 2.3))),
        Solid("box", (0.20, 0.20, 0.20), carton, still((-0.75, FLOOR - 0.20, 1.25), 30)),
        Solid("box", (0.25, 0.60, 0.25), oak, still((2.1, FLOOR - 0.60, 3.9), -15)),
        Solid("ellipsoid", (0.22, 0.26, 0.22), cream, still((2.1, FLOOR - 1.46, 3.9))),
    ]


def walking(up: float) -> Callable[[float], np.ndarray]:
    """The figure crosses from right to left, comes nearer and bobs at every step."""
    return lambda t: at(
        (0.75 - 0.42 * t, FLOOR - up - 0.035 * abs(np.sin(5.2 * t)), 1.85 - 0.13 * t), 25 * t
    )


def bouncing(t: float) -> np.ndarray:
    """The ball hops away to the right."""
    return at((-0.25 + 0.30 * t, FLOOR - 0.15 - 0.55 * abs(np.sin(2.4 * t + 0.6)), 1.2 + 0.05 * t))


def build_room(*, moving: bool = True) -> list[Solid]:
    """Everything that can be seen; without `moving` the figure and the ball are left out."""
    half = (2.6, 1.3, 3.2)
    scene = [Solid("room", half, walls(half), still((0.0, 0.0, 1.4))), *furniture()]
    if not moving:
        return scene
    coat = patches([(0.75, 0.20, 0.16), (0.85, 0.45, 0.2), (0.25, 0.1, 0.1)], seed=31, coarse=0.16)
    hair = mottled((0.15, 0.09, 0.05), (0.80, 0.60, 0.46), seed=32, coarse=0.10)
    dots = patches(
        [(0.95, 0.85, 0.20), (0.10, 0.35, 0.75), (0.95, 0.95, 0.9)], seed=33, coarse=0.12
    )
    return [
        *scene,
        Solid("ellipsoid", (0.24, 0.60, 0.19), coat, walking(0.62), moves=True),
        Solid("ellipsoid", (0.14, 0.17, 0.15), hair, walking(1.36), moves=True),
        Solid("ellipsoid", (0.15, 0.15, 0.15), dots, bouncing, moves=True),
    ]
