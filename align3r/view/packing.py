"""Points and lines as the bytes that the page hands to the graphics card as they are.

A point takes 12 bytes: three uint16 for its place, r g b, and one byte each for confidence, for
the depth at which it was seen, and for how many pixels its neighbours there were away. A place c
in viewer units is stored as c / (1 + |c|), each axis for itself, in steps of 1/32767: fine where
the cameras are, coarse in the far distance, and only what is ten thousand units away is cut off.
Confidence and depth are stored by their logarithm.
"""

from __future__ import annotations

import cv2
import numpy as np

from align3r.view.cloud import Cloud, evenly
from align3r.view.look import Look
from align3r.view.trails import Segments

POINT = np.dtype(
    [("place", "<u2", 3), ("colour", "u1", 3), ("sure", "u1"), ("range", "u1"), ("spacing", "u1")]
)
LINE = np.dtype(
    [("start", "<u2", 3), ("end", "<u2", 3), ("moment", "<u2"), ("colour", "u1", 3), ("", "u1")]
)
CONFIDENCE_STEPS = 32
"""Steps of the confidence byte in a factor of two."""
RANGE_STEPS = 16
"""Steps of the range byte in a factor of two; 128 is the typical depth."""


def pack_points(cloud: Cloud, look: Look) -> bytes:
    """12 bytes a point, in an order in which every beginning is spread evenly over the cloud."""
    cloud = cloud.pick(evenly(cloud.points))
    points = np.zeros(len(cloud), POINT)
    points["place"] = pack_places(look.to_viewer(cloud.points))
    points["colour"] = cloud.colours
    points["sure"] = confidence_level(cloud.confidence)
    depth = look.scale * cloud.distance / look.depth
    with np.errstate(divide="ignore"):
        level = 128 + RANGE_STEPS * np.log2(depth)
    points["spacing"] = cloud.spacing
    points["range"] = np.clip(np.rint(level), 0, 255)
    return points.tobytes()


def pack_places(places: np.ndarray) -> np.ndarray:
    """(P, 3) viewer coordinates as uint16."""
    folded = np.clip(places / (1 + np.abs(places)), -0.9999, 0.9999)
    return np.asarray(np.rint(32768 + 32767 * folded), np.uint16)


def unpack_places(stored: np.ndarray) -> np.ndarray:
    """(P, 3) float64 viewer coordinates, as the page reads them back."""
    folded = (stored.astype(float) - 32768) / 32767
    return np.asarray(folded / (1 - np.abs(folded)))


def confidence_level(confidence: np.ndarray | float) -> np.ndarray:
    """The byte that stores a confidence; 0 stands for 1 and less."""
    level = CONFIDENCE_STEPS * np.log2(np.maximum(np.nan_to_num(np.asarray(confidence)), 1.0))
    return np.asarray(np.clip(np.floor(level + 1e-6), 0, 255).astype(np.uint8))


def pack_segments(pieces: Segments, moments: np.ndarray, look: Look) -> bytes:
    """20 bytes a piece of a trail; `moments` (S,) are the steps of the timeline they end in."""
    lines = np.zeros(len(pieces), LINE)
    lines["start"] = pack_places(look.to_viewer(pieces.start))
    lines["end"] = pack_places(look.to_viewer(pieces.end))
    lines["moment"] = np.minimum(moments, 65535)
    lines["colour"] = pieces.colours
    return lines.tobytes()


def pack_jpeg(rgb: np.ndarray, *, long_side: int, quality: int) -> bytes:
    """An RGB picture as JPEG, made smaller where it is larger than `long_side`."""
    done, data = cv2.imencode(
        ".jpg",
        np.ascontiguousarray(shrink(rgb, long_side)[..., ::-1]),
        [cv2.IMWRITE_JPEG_QUALITY, quality],
    )
    assert done, "JPEG encoding of a uint8 picture cannot fail"
    return data.tobytes()


def pack_mask(mask: np.ndarray, *, long_side: int) -> bytes:
    """A mask as a PNG of one bit a pixel."""
    small = shrink(mask.astype(np.uint8) * 255, long_side) > 127
    done, data = cv2.imencode(".png", small.astype(np.uint8) * 255, [cv2.IMWRITE_PNG_BILEVEL, 1])
    assert done, "PNG encoding of a uint8 picture cannot fail"
    return data.tobytes()


def shrink(picture: np.ndarray, long_side: int, *, way: int = cv2.INTER_AREA) -> np.ndarray:
    """The picture with its long side at most `long_side`."""
    height, width = picture.shape[:2]
    scale = min(1.0, long_side / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=way))
