"""Coloured points for the eye, and how they are thinned: by voxels and evenly, never by lot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from align3r.io import thinning


@dataclass(frozen=True)
class Cloud(thinning.Cloud):
    """Coloured points that know how they were seen."""

    moving: np.ndarray
    """(P,) bool."""
    distance: np.ndarray
    """(P,) float32 z-depth at which the point was seen, scene units."""
    spacing: np.ndarray
    """(P,) uint8 pixels from the point to its neighbours in the frame where it was seen."""


NOTHING = Cloud(
    np.zeros((0, 3), np.float32),
    np.zeros((0, 3), np.uint8),
    np.zeros(0, np.float32),
    np.zeros(0, bool),
    np.zeros(0, np.float32),
    np.zeros(0, np.uint8),
)


def join(clouds: list[Cloud]) -> Cloud:
    """All points of several clouds."""
    columns = zip(*(vars(cloud).values() for cloud in [NOTHING, *clouds]), strict=True)
    return Cloud(*(np.concatenate(column) for column in columns))


def thin(cloud: Cloud, *, voxel: float | np.ndarray, max_points: int) -> Cloud:
    """Keep the most confident point of every voxel; larger voxels until `max_points` suffice.

    Args:
        cloud: Points.
        voxel: Side of the voxels, one for all or (P,) for each; rounded to half octaves.
        max_points: Most points in the result.
    """
    sides = np.broadcast_to(np.asarray(voxel, float), len(cloud))
    order = np.argsort(-cloud.confidence, kind="stable")
    for _ in range(64):
        first = np.unique(cells(cloud.points[order], sides[order]), return_index=True)[1]
        order = order[np.sort(first)]
        if len(order) <= max_points:
            break
        sides = np.sqrt(2.0) * sides
    return cloud.pick(np.sort(order[:max_points]))


def cells(points: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """(P,) int64 number of the voxel that holds each point; voxels of other sides are others."""
    level = np.round(2 * np.log2(np.maximum(sides, 1e-30)))
    cell = np.floor(points / np.exp2(level / 2)[:, None])
    # One number a voxel sorts much faster than rows. Three times 19 bits and 6 of the size fit
    # into an int64; points a quarter of a million voxels away share the outermost one.
    cell = np.clip(cell, -(2**18), 2**18 - 1).astype(np.int64) + 2**18
    key = (cell[:, 0] << 38) | (cell[:, 1] << 19) | cell[:, 2]
    return np.asarray(key | ((level.astype(np.int64) & 63) << 57))


def evenly(points: np.ndarray) -> np.ndarray:
    """(P,) an order of the points in which every beginning is spread evenly over all of them.

    The points are sorted along a Morton curve, and taken from it in bit-reversed order.
    """
    if not len(points):
        return np.zeros(0, np.int64)
    # A few points very far away must not push all others into one cell.
    low, high = np.percentile(points, [1, 99], axis=0)
    cell = np.clip((points - low) / np.maximum(high - low, 1e-30), 0, 1) * 1023
    along = np.argsort(_morton(cell.astype(np.int64)), kind="stable")
    bits = max(1, int(len(points) - 1).bit_length())
    rank = np.arange(2**bits)
    reversed_ = np.zeros_like(rank)
    for bit in range(bits):
        reversed_ |= ((rank >> bit) & 1) << (bits - 1 - bit)
    return np.asarray(along[reversed_[reversed_ < len(points)]])


def _morton(cells: np.ndarray) -> np.ndarray:
    """(P,) int64 with the bits of three 10-bit numbers interleaved."""
    key = np.zeros(len(cells), np.int64)
    for bit in range(10):
        for axis in range(3):
            key |= ((cells[:, axis] >> bit) & 1) << (3 * bit + axis)
    return key
