"""The sequences: what is filmed, how the camera moves, and what moves before it; one row each."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from align3r.datasets.rendered.camera import Camera
from align3r.datasets.rendered.halls import corridor, store
from align3r.datasets.rendered.indoors import bare_room, furnished_room, table_top
from align3r.datasets.rendered.outdoors import park, street
from align3r.datasets.rendered.poses import intrinsics
from align3r.datasets.rendered.raycast import Solid
from align3r.datasets.rendered.shading import Light
from align3r.datasets.rendered.things import Mover, moving
from align3r.errors import UsageError

VERSION = 1
"""Of the recipes: sequences of another version are rendered again."""

SCENES: Mapping[str, Callable[[np.random.Generator], tuple[list[Solid], Light]]] = {
    "furnished_room": furnished_room,
    "bare_room": bare_room,
    "corridor": corridor,
    "table_top": table_top,
    "store": store,
    "street": street,
    "park": park,
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A sequence before it is rendered."""

    name: str
    scene: str
    """One of SCENES."""
    camera: Camera
    movers: tuple[Mover, ...]
    focal: float = 0.885
    """Focal length in widths of the image."""
    size: tuple[int, int] = (512, 288)
    """(width, height), pixels."""
    frames: int = 30
    fps: float = 12.0

    def times(self, frames: int) -> np.ndarray:
        """(frames,) seconds."""
        return np.arange(frames) / self.fps

    def clock(self, t: float) -> float:
        """The time in the scene: a longer video goes back the way it came, and comes again."""
        whole = (self.frames - 1) / self.fps
        return whole - abs(t % (2 * whole) - whole)

    def pose(self, camera: Camera, t: float) -> np.ndarray:
        """4x4 world_from_cam of a camera of this sequence at a time in the scene."""
        return camera.pose(t * self.fps / (self.frames - 1), t)

    def camera_of(self, seed: int) -> Camera:
        """The camera itself for seed 0, another way of much the same kind for others."""
        return self.camera.varied(self._chance(seed, "camera")) if seed else self.camera

    def build(self, seed: int) -> tuple[list[Solid], Light]:
        """The solids and their light; another seed gives other things, colours and paths."""
        rng = self._chance(seed, "scene")
        solids, light = SCENES[self.scene](rng)
        return [*solids, *(solid for mover in self.movers for solid in moving(mover, rng))], light

    def _chance(self, seed: int, what: str) -> np.random.Generator:
        # Every name has a stream of its own: a new row changes no other.
        return np.random.default_rng([seed, zlib.crc32(f"{self.name} {what}".encode())])

    def intrinsics(self, size: tuple[int, int]) -> np.ndarray:
        """(3, 3), pixels."""
        return intrinsics(size, focal=self.focal)


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        name="living_room",
        scene="furnished_room",
        camera=Camera(
            place=(-0.9, -1.5, 0.4), to=(0.5, -1.45, 1.2), gaze=(-0.2, -0.8, 5.0), shake_m=0.02
        ),
        movers=(
            Mover("walker", (1.5, 0.0, 3.3), (-0.85, 0.0, 0.1)),
            Mover("bouncing_ball", (-0.9, 0.0, 2.6), (0.45, 0.0, 0.1)),
        ),
    ),
    Recipe(
        name="handheld_pan",
        scene="furnished_room",
        camera=Camera(
            place=(0.3, -1.5, 0.7), gaze=(-1.9, -0.9, 5.5), gaze_to=(1.7, -1.0, 5.5), shake_m=0.012
        ),
        movers=(
            Mover("walker", (-1.3, 0.0, 3.2), (0.75, 0.0, 0.0)),
            Mover("tumbler", (1.0, -1.9, 4.2), (-0.35, 0.0, 0.0)),
        ),
        focal=1.0,
    ),
    Recipe(
        name="bare_room",
        scene="bare_room",
        camera=Camera(
            place=(-0.5, -1.45, 0.5), to=(0.5, -1.4, 0.9), gaze=(0.1, -0.85, 5.0), shake_m=0.01
        ),
        movers=(Mover("crate", (-0.2, 0.0, 3.6), (0.16, 0.0, 0.05), 1.5, 9.0),),
    ),
    Recipe(
        name="corridor_dolly",
        scene="corridor",
        camera=Camera(place=(0.15, -1.4, 0.2), to=(0.05, -1.4, 3.4), gaze=(0.0, -1.15, 14.0)),
        movers=(
            Mover("walker", (-0.35, 0.0, 6.5), (0.02, 0.0, 1.1)),
            Mover("trolley", (0.55, 0.0, 9.5), (0.0, 0.0, -1.1)),
        ),
        focal=0.75,
    ),
    Recipe(
        name="close_passer",
        scene="corridor",
        camera=Camera(
            place=(-0.5, -1.45, 0.3), to=(-0.3, -1.45, 1.3), gaze=(0.1, -1.1, 9.0), shake_m=0.02
        ),
        movers=(
            Mover("walker", (0.55, 0.0, 4.3), (-0.16, 0.0, -1.25)),
            Mover("walker", (-0.3, 0.0, 9.0), (0.05, 0.0, -0.9)),
        ),
        focal=0.9,
    ),
    Recipe(
        name="desk_orbit",
        scene="table_top",
        camera=Camera(place=(-0.5, -0.62, -1.0), gaze=(0.0, -0.04, 0.06), orbit_deg=-55.0),
        movers=(
            Mover("car", (-0.42, 0.0, -0.02), (0.26, 0.0, -0.03), 0.045),
            Mover("ball", (0.45, 0.0, -0.32), (-0.22, 0.0, 0.05), 0.28),
            Mover("crate", (0.32, 0.0, 0.14), (0.0, 0.0, 0.0), 0.2, 40.0),
        ),
    ),
    Recipe(
        name="pendulum",
        scene="table_top",
        camera=Camera(
            place=(-0.35, -0.5, -1.2), to=(0.3, -0.42, -1.05), gaze=(0.05, -0.2, 0.2), shake_m=0.006
        ),
        movers=(
            Mover("pendulum", (0.05, -0.95, 0.1), (0.0, 0.0, 0.0), 0.58),
            Mover("tumbler", (0.5, -0.5, 0.5), (-0.1, 0.03, 0.0), 0.3),
        ),
    ),
    Recipe(
        name="store_turn",
        scene="store",
        camera=Camera(
            place=(0.0, -1.7, -2.6),
            to=(0.5, -1.7, -1.6),
            gaze=(-6.5, -1.2, 6.0),
            gaze_to=(6.0, -1.3, 5.0),
        ),
        movers=(
            Mover("trolley", (-2.4, 0.0, 3.6), (1.1, 0.0, 0.0)),
            Mover("walker", (-3.3, 0.0, 3.5), (1.1, 0.0, 0.0)),
            Mover("walker", (3.4, 0.0, 6.2), (-0.9, 0.0, -0.5)),
        ),
        focal=0.8,
    ),
    Recipe(
        name="store_static",
        scene="store",
        camera=Camera(place=(-0.7, -2.3, -2.8), gaze=(0.1, -1.0, 6.0)),
        movers=(
            Mover("walker", (-2.6, 0.0, 2.6), (1.1, 0.0, 0.35)),
            Mover("trolley", (2.0, 0.0, 5.2), (-0.8, 0.0, -0.5)),
            Mover("crate", (0.2, 0.0, 1.2), (0.12, 0.0, 0.2), 1.8, -35.0),
            Mover("tumbler", (-1.2, -3.2, 6.5), (0.5, 0.5, 0.0), 1.6),
            Mover("bouncing_ball", (1.6, 0.0, 1.8), (-0.5, 0.0, 0.6), 1.4),
        ),
    ),
    Recipe(
        name="street_walk",
        scene="street",
        camera=Camera(
            place=(-4.6, -1.6, 0.5), to=(-4.3, -1.6, 3.6), gaze=(0.8, -1.6, 26.0), shake_m=0.02
        ),
        movers=(
            Mover("car", (1.2, 0.0, 11.0), (0.0, 0.0, 5.0)),
            Mover("car", (-1.1, 0.0, 27.0), (0.0, 0.0, -5.5)),
            Mover("walker", (-5.0, 0.0, 10.5), (0.1, 0.0, -1.2)),
            Mover("walker", (-2.0, 0.0, 7.2), (1.3, 0.0, 0.2)),
        ),
    ),
    Recipe(
        name="street_drive",
        scene="street",
        camera=Camera(place=(1.3, -1.5, -6.0), to=(1.3, -1.5, 9.0), gaze=(1.2, -1.3, 60.0)),
        movers=(
            Mover("car", (1.4, 0.0, 3.2), (0.0, 0.0, 6.6)),
            Mover("car", (-1.3, 0.0, 30.0), (0.0, 0.0, -5.0)),
            Mover("walker", (-5.1, 0.0, 12.0), (0.0, 0.0, 1.3)),
        ),
        focal=0.95,
    ),
    Recipe(
        name="street_tripod",
        scene="street",
        camera=Camera(place=(-4.4, -1.6, -1.0), gaze=(-2.0, -1.5, 12.0), gaze_to=(6.5, -1.5, 9.0)),
        movers=(
            Mover("car", (-1.2, 0.0, 14.0), (0.0, 0.0, -4.0)),
            Mover("walker", (-0.4, 0.0, 7.0), (1.25, 0.0, 0.1)),
            Mover("walker", (5.0, 0.0, 8.0), (0.0, 0.0, -1.1)),
        ),
    ),
    Recipe(
        name="park_orbit",
        scene="park",
        camera=Camera(
            place=(-3.2, -1.7, -0.6), gaze=(0.3, -0.9, 6.2), orbit_deg=-32.0, shake_m=0.015
        ),
        movers=(
            Mover("walker", (-2.2, 0.0, 4.2), (1.1, 0.0, 0.1)),
            Mover("bouncing_ball", (1.9, 0.0, 3.6), (-0.9, 0.0, 0.3), 1.2),
            Mover("walker", (2.6, 0.0, 8.6), (-0.9, 0.0, 0.05), 0.75),
        ),
    ),
)

BY_NAME: Mapping[str, Recipe] = {row.name: row for row in RECIPES}


def recipe(name: str) -> Recipe:
    """The recipe of a sequence.

    Raises:
        UsageError: There is none of that name.
    """
    try:
        return BY_NAME[name]
    except KeyError:
        raise UsageError(
            f"there is no rendered sequence {name!r}", hint=f"those known are {', '.join(BY_NAME)}"
        ) from None
