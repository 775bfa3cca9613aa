"""How a camera goes through a scene."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from align3r.datasets.rendered.paints import Place
from align3r.datasets.rendered.poses import look, turned


@dataclass(frozen=True, kw_only=True)
class Camera:
    """A camera's way, as a function of the part of the sequence, 0 to 1, and of the time."""

    place: Place
    """Where it is at first, metres."""
    gaze: Place
    """What it looks at at first."""
    to: Place | None = None
    """Where it is at the end, in a straight line from `place`; None: it stays."""
    gaze_to: Place | None = None
    """What it looks at at the end; None: the same."""
    orbit_deg: float = 0.0
    """How far it turns about the vertical through what it looks at."""
    shake_m: float = 0.0
    """The sway of a hand; 0 is a tripod or a track."""

    def varied(self, rng: np.random.Generator) -> Camera:
        """A camera that does much the same from nearly the same place, by chance."""
        place, gaze = np.array(self.place), np.array(self.gaze)
        far = float(np.linalg.norm(gaze - place))
        nearby = place + min(0.03 * far, 0.15) * rng.uniform(-1, 1, 3)
        beside = gaze + far * np.array([0.06, 0.03, 0.06]) * rng.uniform(-1, 1, 3)
        pace = float(rng.uniform(0.85, 1.15))

        def end(old: Place | None, start: np.ndarray, new: np.ndarray) -> Place | None:
            return None if old is None else _place(new + pace * (np.array(old) - start))

        return replace(
            self,
            place=_place(nearby),
            gaze=_place(beside),
            to=end(self.to, place, nearby),
            gaze_to=end(self.gaze_to, gaze, beside),
            orbit_deg=pace * self.orbit_deg,
        )

    def pose(self, s: float, t: float) -> np.ndarray:
        """4x4 world_from_cam at a part `s` of the sequence and `t` seconds."""
        place, gaze = np.array(self.place), np.array(self.gaze)
        place = place + s * (np.array(self.to or self.place) - place)
        gaze = gaze + s * (np.array(self.gaze_to or self.gaze) - gaze)
        if self.orbit_deg:
            place = gaze + turned(1, self.orbit_deg * s)[:3, :3] @ (place - gaze)
        sway = self.shake_m * np.sin(np.array([3.1, 4.3, 2.3]) * t + np.array([0.4, 1.9, 3.0]))
        far = float(np.linalg.norm(gaze - place))
        aim = 0.5 * far * np.array([sway[1], sway[2], 0.0])
        return look(place + sway, gaze + aim, 0.6 * float(sway[0]))


def _place(point: np.ndarray) -> Place:
    x, y, z = (float(part) for part in point)
    return x, y, z
