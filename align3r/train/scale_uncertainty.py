"""What an uncertain scale does to boundaries in a second view (Fin3R, supplement, appendix D).

A network that cannot know how large a scene is places a point p of the first camera at (1 + d) p.
A second camera, b_from_a = (R, T), then sees it elsewhere: at p2 + d R p in place of
p2 = R p + T = (X2, Y2, Z2), the farther off the nearer it is. Training averages over what cannot
be known, so the boundaries of near things are blurred most, and eroded.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def image_shift(
    point_in_b: Array, translation: Array, focal: Array | float, delta: Array | float
) -> Array:
    """How far a point moves in the second image when its scale is off by delta: (..., 2) pixels.

    `du = d f (X2 Tz - Tx Z2) / (Z2 (Z2 + d (Z2 - Tz)))`, dv with Y2 and Ty; no approximation.
    Without a translation it is 0: in the first view, and for a camera that only turns.

    Args:
        point_in_b: (..., 3) p2, in the second camera, OpenCV axes; Z2 > 0.
        translation: (..., 3) T of b_from_a.
        focal: f, in pixels.
        delta: d, relative error of the scale.
    """
    return _by_depth(point_in_b, translation, focal, delta, grows=True)


def image_shift_for_small(
    point_in_b: Array, translation: Array, focal: Array | float, delta: Array | float
) -> Array:
    """`image_shift` to the first order in delta: (..., 2) pixels, `d f (c Tz - Tx) / Z2`.

    With c = X2 / Z2, which neighbours along a boundary share: so the shift goes with the inverse of
    depth. It is 1 + d (Z2 - Tz) / Z2 times the true one, and points along the epipolar line.

    Args:
        point_in_b: (..., 3) p2, in the second camera; Z2 > 0.
        translation: (..., 3) T of b_from_a.
        focal: f, in pixels.
        delta: d, relative error of the scale.
    """
    return _by_depth(point_in_b, translation, focal, delta, grows=False)


def image_spread(
    point_in_b: Array, translation: Array, focal: Array | float, sigma: float
) -> Array:
    """Standard deviation of where a point is seen, for d ~ N(0, sigma^2): (..., 2) pixels.

    To the first order: `s f |c Tz - Tx| / Z2`.

    Args:
        point_in_b: (..., 3) p2, in the second camera; Z2 > 0.
        translation: (..., 3) T of b_from_a.
        focal: f, in pixels.
        sigma: Standard deviation s of the relative error of the scale.
    """
    spread: Array = np.abs(image_shift_for_small(point_in_b, translation, focal, sigma))
    return spread


def _by_depth(
    point: Array, translation: Array, focal: Array | float, delta: Array | float, *, grows: bool
) -> Array:
    """d f (c T_z - T_xy) / Z, where Z is the depth that the point then has, or had."""
    point, translation = np.asarray(point, float), np.asarray(translation, float)
    focal, delta = np.asarray(focal, float)[..., None], np.asarray(delta, float)[..., None]
    z, tz = point[..., 2:], translation[..., 2:]
    depth = z + delta * (z - tz) if grows else z
    shift: Array = delta * focal * (point[..., :2] / z * tz - translation[..., :2]) / depth
    return shift
