"""Dense depth of a frame from its flows to other frames, the cameras being known.

For a pixel with ray r seen at ray s in another camera, R r + rho t is parallel to s when rho is
its inverse depth. The miss (R r + rho t) x s is linear in rho, so a pair says all it knows in
three numbers a pixel, and any number of pairs is fused without touching the flows again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from align3r.flow.warp import pixel_grid

_TYPICAL_ERROR_PX = 1.5


@dataclass(frozen=True)
class PixelModel:
    """Pinhole camera shared by all frames."""

    focal: float
    centre: tuple[float, float]


@dataclass(frozen=True)
class Evidence:
    """Squared miss of a pair as a function of inverse depth: c + 2 b rho + a rho^2, in px^2."""

    a: np.ndarray
    """(h, w) float32: how far the match moves along its epipolar line for a change of rho."""
    b: np.ndarray
    """(h, w) float32."""
    c: np.ndarray
    """(h, w) float32: squared miss of a point infinitely far away."""
    valid: np.ndarray
    """(h, w) bool."""


@dataclass(frozen=True)
class FusedDepth:
    """Depth of one frame as several pairs see it."""

    inverse_depth: np.ndarray
    """(h, w) float32, > 0."""
    relative_error: np.ndarray
    """(h, w) float32: relative depth error that one pixel of flow error makes."""
    miss_px: np.ndarray
    """(h, w) float32 median miss of the valid pairs; nan where none is valid."""
    confirmed: np.ndarray
    """(h, w) bool: two pairs see the pixel, or all if there are fewer."""


FUSED: dict[str, DTypeLike] = {
    "inverse_depth": np.float32,
    "relative_error": np.float32,
    "miss_px": np.float32,
    "confirmed": np.bool_,
}
"""What a pixel of each field of it is."""


def pair_evidence(
    flow: np.ndarray, valid: np.ndarray, target_from_source: np.ndarray, model: PixelModel
) -> Evidence:
    """What the (h, w, 2) flow of a pair says about the depth of its source view."""
    motion = target_from_source.astype(np.float32)
    turn, shift = motion[:3, :3], motion[:3, 3]
    grid = pixel_grid(*flow.shape[:2])
    centre, focal = np.asarray(model.centre, np.float32), np.float32(model.focal)
    source = (grid - centre) / focal
    seen = (grid + flow - centre) / focal
    turned = [
        turn[k, 0] * source[..., 0] + turn[k, 1] * source[..., 1] + turn[k, 2] for k in range(3)
    ]
    lever = _cross(shift, seen)
    far = _cross(turned, seen)
    # In pixels: the cross product with a ray of z = 1 measures at distance R r's z.
    px = focal / np.maximum(turned[2], np.float32(0.1))
    square = px * px
    return Evidence(
        _dot(lever, lever) * square, _dot(lever, far) * square, _dot(far, far) * square, valid
    )


def _cross(a: list[np.ndarray] | np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, ...]:
    x, y = seen[..., 0], seen[..., 1]
    return a[1] - a[2] * y, a[2] * x - a[0], a[0] * y - a[1] * x


def _dot(a: tuple[np.ndarray, ...], b: tuple[np.ndarray, ...]) -> np.ndarray:
    return np.asarray(a[0] * b[0] + a[1] * b[1] + a[2] * b[2])


def miss(evidence: Evidence, inverse_depth: np.ndarray) -> np.ndarray:
    """(h, w) pixels between where the pair sees a point and where its depth puts it."""
    rho = inverse_depth
    square = evidence.c + rho * (2 * evidence.b + rho * evidence.a)
    return np.asarray(np.sqrt(np.maximum(square, 0)))


def fuse(pairs: list[Evidence], *, rounds: int = 3) -> FusedDepth:
    """Robust inverse depth from several pairs: weighted median, then a few reweighted steps.

    Args:
        pairs: At least one.
        rounds: Geman-McClure steps after the median.
    """
    a, b, c = (np.stack([getattr(p, name) for p in pairs]) for name in "abc")
    valid = np.stack([p.valid for p in pairs]).astype(np.float32)
    rho = _weighted_median(-b / np.maximum(a, 1e-9), valid * np.sqrt(a) + 1e-9)
    information = (valid * a).sum(0)
    for _ in range(rounds):
        square = np.maximum(c + rho * (2 * b + rho * a), 0)
        weight = valid / (1 + square / _TYPICAL_ERROR_PX**2) ** 2
        information = (weight * a).sum(0)
        rho = np.where(
            information > 1e-9, -(weight * b).sum(0) / np.maximum(information, 1e-9), rho
        )
    rho = np.maximum(rho, 1e-6).astype(np.float32)
    missed = np.sqrt(np.maximum(c + rho * (2 * b + rho * a), 0))
    return FusedDepth(
        rho,
        (1 / (rho * np.sqrt(np.maximum(information, 1e-12)))).astype(np.float32),
        _median_of_valid(missed, valid > 0),
        valid.sum(0) >= min(2, len(pairs)),
    )


def _weighted_median(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    order = np.argsort(values, 0)
    mass = np.take_along_axis(weights, order, 0).cumsum(0)
    place = np.minimum((mass < 0.5 * mass[-1:]).sum(0), len(values) - 1)
    return np.asarray(np.take_along_axis(np.take_along_axis(values, order, 0), place[None], 0)[0])


def _median_of_valid(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Median over the first axis of the valid values; nan where none is."""
    count = valid.sum(0)
    ordered = np.sort(np.where(valid, values, np.inf), 0)
    low = np.take_along_axis(ordered, np.maximum((count - 1) // 2, 0)[None], 0)[0]
    high = np.take_along_axis(ordered, np.maximum(count // 2, 0).clip(0, len(values) - 1)[None], 0)[
        0
    ]
    with np.errstate(invalid="ignore"):
        middle = 0.5 * (low + high)
    return np.where(count > 0, middle, np.nan).astype(np.float32)


def flat(pairs: list[Evidence], shape: tuple[int, int]) -> FusedDepth:
    """Constant depth of a frame without parallax; its misses still tell what moves."""
    valid = np.stack([p.valid for p in pairs]) if pairs else np.zeros((1, *shape), bool)
    missed = np.sqrt(np.stack([p.c for p in pairs])) if pairs else np.zeros((1, *shape), np.float32)
    return FusedDepth(
        np.ones(shape, np.float32),
        np.full(shape, np.inf, np.float32),
        _median_of_valid(missed, valid),
        valid.sum(0) >= min(2, len(pairs)),
    )
