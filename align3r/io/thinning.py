"""Coloured points, and how they are thinned to a number: by voxels and confidence, never by lot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Kind = TypeVar("Kind", bound="Cloud")

_STEPS = 24
"""Sides of voxels that are tried at most."""


@dataclass(frozen=True)
class Cloud:
    """Coloured points in world coordinates, OpenCV axes."""

    points: np.ndarray
    """(P, 3) float32, scene units."""
    colours: np.ndarray
    """(P, 3) uint8 RGB."""
    confidence: np.ndarray
    """(P,) float32."""

    def __len__(self) -> int:
        return len(self.points)

    def pick(self: Kind, which: np.ndarray) -> Kind:
        """The points that a mask or an index array selects, with all that is known of them."""
        return type(self)(*(column[which] for column in vars(self).values()))


def join(clouds: list[Cloud]) -> Cloud:
    """All points of several clouds."""
    return Cloud(
        np.concatenate([np.zeros((0, 3), np.float32), *(cloud.points for cloud in clouds)]),
        np.concatenate([np.zeros((0, 3), np.uint8), *(cloud.colours for cloud in clouds)]),
        np.concatenate([np.zeros(0, np.float32), *(cloud.confidence for cloud in clouds)]),
    )


def most_confident(cloud: Kind, count: int) -> Kind:
    """At most `count` points, the most confident ones, in the order they came."""
    if len(cloud) <= count:
        return cloud
    best = np.argsort(-cloud.confidence, kind="stable")[: max(count, 0)]
    return cloud.pick(np.sort(best))


def evened(cloud: Cloud, count: int, *, voxel: float) -> Cloud:
    """Exactly `count` points of a larger cloud, spread over it; a smaller one as it is.

    Args:
        cloud: Points, no two at the same place.
        count: How many to keep.
        voxel: Side of the voxels that are tried first.
    """
    if not 0 < count < len(cloud):
        return most_confident(cloud, count)
    middle = np.median(cloud.points, axis=0)
    enough = count + count // 200
    return most_confident(_fit(cloud, count, enough, voxel=voxel, middle=middle)[0], count)


class Thinner:
    """Takes clouds one by one and holds at most `room` of their points.

    As long as all points fit, only those at the same place as a more confident one are dropped.
    Then the most confident of every voxel is kept, and half of the room or more stays filled.
    """

    def __init__(self, room: int, *, voxel: float) -> None:
        """Voxels of side `voxel` are tried first when points no longer fit."""
        self._room, self._guess = room, voxel
        self._voxel, self._middle = 0.0, np.zeros(3, np.float32)
        self._kept = join([])
        self._waiting: list[Cloud] = []

    def add(self, cloud: Cloud) -> None:
        """Take one more cloud."""
        self._waiting.append(cloud)
        # Sorting is what costs time: it is done once half as many wait as may be kept.
        if sum(map(len, self._waiting)) > self._room // 2:
            self._merge()

    def result(self) -> Cloud:
        """What is kept of all clouds so far."""
        self._merge()
        return self._kept

    def _merge(self) -> None:
        cloud = join([self._kept, *self._waiting])
        self._waiting = []
        if not self._voxel:
            cloud = _distinct(cloud)
            # Voxels keep their places from here on, so what is kept never falls into fewer.
            self._middle = np.median(cloud.points, axis=0) if len(cloud) else self._middle
        else:
            cloud = _thin(cloud, voxel=self._voxel, middle=self._middle)
        if len(cloud) > self._room:
            guess = 1.2 * self._voxel or self._guess
            cloud, self._voxel = _fit(
                cloud, self._room // 2, self._room, voxel=guess, middle=self._middle
            )
        self._kept = most_confident(cloud, self._room)


def _fit(
    cloud: Cloud, least: int, most: int, *, voxel: float, middle: np.ndarray
) -> tuple[Cloud, float]:
    """Thin a cloud to `least` to `most` points if voxels of some side do so, and to no fewer.

    Returns:
        What the largest voxels leave that leave enough, and their side; all and 0 if none do.
    """
    best, low, high = cloud, 0.0, np.inf
    for _ in range(_STEPS):
        thinned = _thin(cloud, voxel=voxel, middle=middle)
        # Points lie on surfaces, so their number falls with the square of the side.
        factor = np.sqrt(len(thinned) / least)
        if len(thinned) >= least:
            best, low = thinned, voxel
            if len(best) <= most:
                break
            factor = max(1.03, factor)
        else:
            high, factor = voxel, min(0.97, factor)
        voxel = np.sqrt(low * high) if 0 < low and high < np.inf else voxel * factor
    return best, float(low)


def _thin(cloud: Cloud, *, voxel: float, middle: np.ndarray) -> Cloud:
    """The most confident point of every voxel, in the order they came.

    The middle is the middle of a voxel, so that voxels can grow around all of the cloud.
    """
    order = np.argsort(-cloud.confidence, kind="stable")
    cells = np.rint((cloud.points[order].astype(np.float64) - middle) / voxel)
    # One number a voxel sorts much faster than rows. Three times 21 bits fit into an int64;
    # points a million voxels away share the outermost one.
    cells = np.clip(cells, -(2**20), 2**20 - 1).astype(np.int64) + 2**20
    key = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    first = np.unique(key, return_index=True)[1]
    return cloud.pick(np.sort(order[first]))


def _distinct(cloud: Cloud) -> Cloud:
    """The most confident point of every place, in the order they came."""
    order = np.lexsort((-cloud.confidence, *cloud.points.T))
    places = cloud.points[order]
    first = np.ones(len(cloud), bool)
    first[1:] = (places[1:] != places[:-1]).any(axis=1)
    return cloud.pick(np.sort(order[first]))
