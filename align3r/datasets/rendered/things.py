"""Things that move: groups of rigid solids on paths that are functions of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from align3r.datasets.rendered.paints import Colour, Paint, Place, mottled, patches
from align3r.datasets.rendered.poses import at, still_at, turned
from align3r.datasets.rendered.raycast import Solid

Path = Callable[[float], np.ndarray]
"""Seconds -> 4x4 pose."""

_HUES: tuple[Colour, ...] = (
    (0.66, 0.22, 0.17),
    (0.16, 0.25, 0.46),
    (0.20, 0.38, 0.24),
    (0.82, 0.60, 0.20),
    (0.20, 0.50, 0.54),
    (0.74, 0.40, 0.22),
    (0.46, 0.62, 0.78),
    (0.45, 0.24, 0.36),
    (0.50, 0.55, 0.28),
    (0.76, 0.66, 0.52),
    (0.36, 0.35, 0.38),
)


@dataclass(frozen=True)
class Mover:
    """Something that moves, before chance has its say about colours, pace and place."""

    kind: str
    """One of KINDS."""
    start: Place
    """Where its lowest point is at first, metres; a pendulum: where it hangs."""
    velocity: Place = (0.0, 0.0, 0.0)
    """Metres a second."""
    size: float = 1.0
    """Times its usual size."""
    spin_deg: float = 0.0
    """Turn about the vertical in a second."""


def moving(mover: Mover, rng: np.random.Generator) -> list[Solid]:
    """The solids of a thing that moves."""
    return KINDS[mover.kind](mover, rng)


def parked(mover: Mover, rng: np.random.Generator) -> list[Solid]:
    """The same thing where it starts, for good."""
    return [
        replace(solid, world_from_solid=still_at(solid.world_from_solid(0.0)), moves=False)
        for solid in moving(mover, rng)
    ]


def bright(rng: np.random.Generator) -> Colour:
    """A colour that cloth, lacquer and print have, a bit off."""
    red, green, blue = np.array(_HUES[int(rng.integers(len(_HUES)))]) * rng.uniform(0.85, 1.15, 3)
    return min(float(red), 1.0), min(float(green), 1.0), min(float(blue), 1.0)


def tinted(colour: Colour, share: float) -> Colour:
    """A colour that is darker, or lighter than before."""
    red, green, blue = (min(1.0, share * part) for part in colour)
    return red, green, blue


def _cloth(rng: np.random.Generator, coarse: float) -> Paint:
    colour = bright(rng)
    return mottled(
        tinted(colour, 0.45),
        tinted(colour, 1.15),
        seed=seed_of(rng),
        coarse=coarse,
        stretch=(1, 2, 1),
    )


def _patterned(rng: np.random.Generator, coarse: float) -> Paint:
    colour = bright(rng)
    tones = [tinted(colour, share) for share in (0.65, 1.0, 1.1, 1.35)]
    return patches(tones, seed=seed_of(rng), coarse=coarse)


def _printed(rng: np.random.Generator, coarse: float) -> Paint:
    colours = [bright(rng) for _ in range(3)] + [(0.93, 0.91, 0.86)]
    return patches(colours, seed=seed_of(rng), coarse=coarse)


def seed_of(rng: np.random.Generator) -> int:
    """A seed of noise."""
    return int(rng.integers(1, 1 << 20))


def _along(
    mover: Mover, rng: np.random.Generator, *, up: float = 0.0, heading: bool = True
) -> Path:
    """Straight on at a pace of its own, facing where it goes, or turning."""
    start = np.array(mover.start) + rng.uniform(-0.06, 0.06, 3) * [mover.size, 0, mover.size]
    velocity = np.array(mover.velocity) * rng.uniform(0.9, 1.1)
    yaw = float(np.degrees(np.arctan2(velocity[0], velocity[2]))) if heading else 0.0

    def pose(t: float) -> np.ndarray:
        x, y, z = start + velocity * t
        return at((x, y - up, z), yaw + mover.spin_deg * t)

    return pose


def _part(
    group: Path, kind: str, half: Place, paint: Paint, *, place: Place, swing: Path | None = None
) -> Solid:
    """A solid that goes with its group: at a place there, after a motion of its own."""

    def pose(t: float) -> np.ndarray:
        own = np.eye(4) if swing is None else swing(t)
        return np.asarray(group(t) @ at(place) @ own)

    return Solid(kind, half, paint, pose, moves=True)


def _walker(mover: Mover, rng: np.random.Generator) -> list[Solid]:
    """A person of 1.75 m; arms and legs swing with the steps."""
    s, body = mover.size, _along(mover, rng)
    pace = float(np.hypot(mover.velocity[0], mover.velocity[2]))
    rate, reach = 2 * np.pi * 0.75 * pace / s, min(0.5, 0.42 * pace)
    coat, trousers = _patterned(rng, 0.09 * s), _cloth(rng, 0.14 * s)
    skin = mottled((0.62, 0.42, 0.32), (0.86, 0.66, 0.54), seed=seed_of(rng), coarse=0.12 * s)
    hair = mottled((0.10, 0.07, 0.05), (0.36, 0.25, 0.16), seed=seed_of(rng), coarse=0.05 * s)

    def limb(sign: float, length: float) -> Path:
        def swing(t: float) -> np.ndarray:
            hang = turned(0, float(np.degrees(sign * reach * np.sin(rate * t))))
            return np.asarray(hang @ at((0.0, length, 0.0)))

        return swing

    def part(half: Place, paint: Paint, place: Place, swing: Path | None = None) -> Solid:
        a, b, c = (s * x for x in half)
        x, y, z = (s * q for q in place)
        return _part(body, "ellipsoid", (a, b, c), paint, place=(x, y, z), swing=swing)

    legs = [
        part((0.095, 0.47, 0.11), trousers, (0.10 * g, -0.90, 0), limb(g, 0.44 * s))
        for g in (-1, 1)
    ]
    arms = [
        part((0.06, 0.33, 0.07), coat, (0.26 * g, -1.40, 0), limb(-g, 0.29 * s)) for g in (-1, 1)
    ]
    return [
        *legs,
        *arms,
        part((0.23, 0.40, 0.16), coat, (0, -1.13, 0)),
        part((0.105, 0.14, 0.12), skin, (0, -1.62, 0)),
        part((0.11, 0.10, 0.125), hair, (0, -1.68, -0.02)),
    ]


def _car(mover: Mover, rng: np.random.Generator) -> list[Solid]:
    """A car of 4.2 m; toys are smaller."""
    s, body, lacquer = mover.size, _along(mover, rng), bright(rng)
    paint = mottled(tinted(lacquer, 0.75), tinted(lacquer, 1.1), seed=seed_of(rng), coarse=0.8 * s)
    glass = mottled((0.08, 0.10, 0.12), (0.36, 0.42, 0.46), seed=seed_of(rng), coarse=0.7 * s)
    dark = mottled((0.05, 0.05, 0.05), (0.22, 0.22, 0.22), seed=seed_of(rng), coarse=0.2 * s)
    rim = patches([(0.06, 0.06, 0.06), (0.6, 0.6, 0.62)], seed=seed_of(rng), coarse=0.3 * s)
    lamp = mottled((0.85, 0.80, 0.65), (1.0, 0.97, 0.9), seed=seed_of(rng), coarse=0.2 * s)
    rate = float(np.degrees(np.linalg.norm(mover.velocity) / (0.31 * s)))

    def box(half: Place, what: Paint, place: Place) -> Solid:
        a, b, c = (s * x for x in half)
        x, y, z = (s * q for q in place)
        return _part(body, "box", (a, b, c), what, place=(x, y, z))

    wheels = [
        _part(
            body,
            "ellipsoid",
            (0.12 * s, 0.31 * s, 0.31 * s),
            rim,
            place=(0.80 * s * side, -0.31 * s, z * s),
            swing=lambda t: turned(0, -rate * t),
        )
        for side in (-1, 1)
        for z in (-1.3, 1.3)
    ]
    return [
        box((0.86, 0.28, 2.1), paint, (0, -0.55, 0)),
        box((0.74, 0.22, 1.05), glass, (0, -1.02, -0.25)),
        box((0.72, 0.03, 0.95), paint, (0, -1.27, -0.25)),
        box((0.84, 0.07, 2.16), dark, (0, -0.36, 0)),
        *(box((0.16, 0.08, 0.03), lamp, (0.6 * g, -0.62, 2.1)) for g in (-1, 1)),
        *wheels,
    ]


def _ball(mover: Mover, rng: np.random.Generator, *, hop: float = 0.0) -> list[Solid]:
    """A ball of 30 cm that rolls, and hops to so many times its radius."""
    r, way = 0.15 * mover.size, _along(mover, rng, up=0.15 * mover.size)
    phase = rng.uniform(0, np.pi)
    rate = float(np.degrees(np.linalg.norm(mover.velocity) / r))

    def pose(t: float) -> np.ndarray:
        lifted = at((0, -hop * r * abs(np.sin(3.0 * t + phase)), 0))
        return np.asarray(lifted @ way(t) @ turned(0, -rate * t))

    return [Solid("ellipsoid", (r, r, r), _printed(rng, 0.8 * r), pose, moves=True)]


def _crate(mover: Mover, rng: np.random.Generator) -> list[Solid]:
    """A printed box of 40 cm that slides, and turns if it spins."""
    a, b, c = mover.size * 0.2 * rng.uniform(0.8, 1.2, 3)
    way = _along(mover, rng, up=float(b), heading=False)
    return [Solid("box", (a, b, c), _printed(rng, 0.13 * mover.size), way, moves=True)]


def _tumbler(mover: Mover, rng: np.random.Generator) -> list[Solid]:
    """A printed box of 40 cm in the air that turns about a slanting axis."""
    a, b, c = mover.size * 0.2 * rng.uniform(0.7, 1.3, 3)
    way = _along(mover, rng, heading=False)
    rate = float(rng.uniform(50, 80))

    def pose(t: float) -> np.ndarray:
        return np.asarray(way(t) @ turned(0, rate * t) @ turned(2, 0.6 * rate * t + 20))

    return [Solid("box", (a, b, c), _printed(rng, 0.13 * mover.size), pose, moves=True)]


def _pendulum(mover: Mover, rng: np.random.Generator) -> list[Solid]:
    """A rod of 1.1 m with a bob, swinging to the left and right."""
    s, phase = mover.size, rng.uniform(0, 1)
    rod = mottled((0.25, 0.24, 0.22), (0.6, 0.58, 0.55), seed=seed_of(rng), coarse=0.2 * s)

    def hang(t: float) -> np.ndarray:
        angle = 38 * np.sin(np.sqrt(9.81 / (1.1 * s)) * t + phase)
        return np.asarray(at(mover.start, 15.0) @ turned(2, float(angle)))

    bob = _printed(rng, 0.14 * s)
    return [
        _part(hang, "box", (0.018 * s, 0.55 * s, 0.018 * s), rod, place=(0, 0.55 * s, 0)),
        _part(hang, "ellipsoid", (0.2 * s, 0.2 * s, 0.12 * s), bob, place=(0, 1.15 * s, 0)),
    ]


def _trolley(mover: Mover, rng: np.random.Generator) -> list[Solid]:
    """A cart of one metre with cartons on it."""
    s, way = mover.size, _along(mover, rng)
    steel = mottled((0.18, 0.28, 0.42), (0.38, 0.50, 0.66), seed=seed_of(rng), coarse=0.3 * s)
    carton = mottled(
        (0.52, 0.38, 0.23), (0.78, 0.62, 0.43), seed=seed_of(rng), coarse=0.2 * s, stretch=(1, 4, 1)
    )
    black = mottled((0.04, 0.04, 0.04), (0.2, 0.2, 0.2), seed=seed_of(rng), coarse=0.1 * s)

    def part(kind: str, half: Place, paint: Paint, place: Place) -> Solid:
        a, b, c = (s * x for x in half)
        x, y, z = (s * q for q in place)
        return _part(way, kind, (a, b, c), paint, place=(x, y, z))

    return [
        part("box", (0.32, 0.04, 0.55), steel, (0, -0.22, 0)),
        part("box", (0.30, 0.40, 0.02), steel, (0, -0.60, -0.55)),
        part("box", (0.26, 0.17, 0.24), carton, (0, -0.43, -0.22)),
        part("box", (0.22, 0.13, 0.20), carton, (0.03, -0.39, 0.27)),
        part("box", (0.18, 0.11, 0.18), carton, (-0.04, -0.71, -0.2)),
        *(
            part("ellipsoid", (0.04, 0.09, 0.09), black, (x, -0.09, z))
            for x in (-0.26, 0.26)
            for z in (-0.42, 0.42)
        ),
    ]


KINDS: Mapping[str, Callable[[Mover, np.random.Generator], list[Solid]]] = {
    "walker": _walker,
    "car": _car,
    "ball": _ball,
    "bouncing_ball": partial(_ball, hop=2.2),
    "crate": _crate,
    "tumbler": _tumbler,
    "pendulum": _pendulum,
    "trolley": _trolley,
}
