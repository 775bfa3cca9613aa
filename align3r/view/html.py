"""scene.html: one file that plays the reconstruction in any browser, without a server."""

from __future__ import annotations

import base64
import logging
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from align3r.errors import UsageError
from align3r.reconstruction import Reconstruction
from align3r.view import packing
from align3r.view.look import choose_look
from align3r.view.page_text import page
from align3r.view.palette import spread
from align3r.view.parts import STATIC_FRAMES, Detail, Parts

log = logging.getLogger(__name__)

ELEMENT_BYTES = 110
"""What stands around a part, and what rounding up to whole base64 and deflate blocks adds."""
BASE64 = 4 / 3
MOST_STEPS = 240
"""Most moments of the playback; longer videos show every n-th frame."""
MOST_STATIC = 350_000
MOST_MOVING = 12_000
"""Most moving points of one moment."""
MOST_TRAILS = 40_000
"""Most pieces of trails."""
QUALITIES = ((320, 75), (240, 70), (160, 65), (96, 60))
"""Long side and JPEG quality of the pictures; the best that leaves room for points is taken."""
PICTURES = ("image", "depth", "mask")


def write_html(
    scene: Reconstruction,
    path: Path,
    *,
    max_bytes: int = 15_000_000,
    min_confidence: float = 1.5,
) -> None:
    """Write a self-contained viewer with playback at the video's own speed.

    It shows the static points of the whole video, the moving points of the current moment and
    their trails, all cameras, and image, depth and mask of the current one, with the controls of
    `align3r view`. No part of it is fetched from elsewhere.

    Args:
        scene: The reconstruction.
        path: File to write.
        max_bytes: What is shown is thinned to fit into a file of this size.
        min_confidence: Where the slider of least confidence stands at first.

    Raises:
        UsageError: `max_bytes` is too small for anything to be shown.
        InputError: A map of the reconstruction cannot be read.
        OSError: The file cannot be written.
    """
    text = render(scene, max_bytes=max_bytes, min_confidence=min_confidence, name=path.stem)
    data = text.encode()
    assert len(data) <= max_bytes, "every share of the budget is an upper bound"
    log.info("%s: %.1f MB", path.name, len(data) / 1e6)
    path.write_bytes(data)


def render(scene: Reconstruction, *, max_bytes: int, min_confidence: float, name: str) -> str:
    """The page as one string of at most `max_bytes` bytes.

    Raises:
        UsageError: Less than 50 kB would be left for the scene.
        InputError: A map of the reconstruction cannot be read.
    """
    look, n = choose_look(scene), len(scene)
    steps = spread(n, int(np.clip(max_bytes // 60_000, 1, MOST_STEPS)))
    pictures: dict[str, bytes] = {}
    for long_side, quality in QUALITIES:
        detail = Detail(
            static=min(MOST_STATIC, max_bytes // 30),
            moving=MOST_MOVING,
            frame=0,
            picture=long_side,
            quality=quality,
            trails=min(MOST_TRAILS, max_bytes // 300),
            min_confidence=min_confidence,
        )
        groups = [spread(n, STATIC_FRAMES).tolist()]
        parts = Parts(scene, look, name=name, steps=steps, groups=groups, detail=detail)
        room = _room(parts, max_bytes=max_bytes)
        pictures = {
            f"part/0/{kind}/{i}": parts.part(kind, i)
            for i in range(len(steps))
            for kind in ("image", "depth", "mask")
        }
        if sum(map(len, pictures.values())) < room // 2:
            break
    return page([parts], embedded=_embed(parts, pictures, room=room))


def _room(parts: Parts, *, max_bytes: int) -> int:
    """Bytes for parts, before base64, beside the page itself.

    Raises:
        UsageError: They are less than 50 kB.
    """
    alone = len(page([parts], embedded={}).encode())
    room = (max_bytes - alone) / BASE64 - ELEMENT_BYTES * sum(parts.counts.values())
    if room < 50_000:
        raise UsageError(
            f"scene.html cannot be made in {max_bytes / 1e6:.2f} MB: the page alone takes "
            f"{alone / 1e6:.2f} MB",
            hint="allow at least 1 MB",
        )
    return int(room)


def _embed(parts: Parts, pictures: Mapping[str, bytes], *, room: int) -> dict[str, str]:
    """The elements of all parts: pictures first, then trails, then as many points as fit."""
    room -= sum(map(len, pictures.values()))
    points: dict[str, bytes] = {}
    for i in range(parts.counts["trails"]):
        points[f"part/0/trails/{i}"] = parts.part("trails", i)
        room -= len(points[f"part/0/trails/{i}"])
    static = parts.part("static", 0)
    if not static:
        log.warning("no static point has a known depth: scene.html shows none")
    static = thin_packed(static, room // 2 // packing.POINT.itemsize)
    points["part/0/static/0"] = static
    room -= len(static)
    moving = [parts.part("moving", i) for i in range(len(parts.steps))]
    most = MOST_MOVING
    while most and sum(min(len(data), most * packing.POINT.itemsize) for data in moving) > room:
        most = int(0.95 * most)
    points |= {f"part/0/moving/{i}": thin_packed(data, most) for i, data in enumerate(moving)}
    elements = {key: _element(key, zlib.compress(data, 6), True) for key, data in points.items()}
    return elements | {key: _element(key, data, False) for key, data in pictures.items()}


def thin_packed(data: bytes, most: int) -> bytes:
    """The first `most` of packed points, which lie evenly among all; they become larger for it."""
    points = np.frombuffer(data, packing.POINT)
    if len(points) <= most:
        return data
    kept = points[:most].copy()
    wider = kept["spacing"] * np.sqrt(len(points) / max(most, 1))
    kept["spacing"] = np.clip(np.ceil(wider), 1, 255)
    return kept.tobytes()


def _element(key: str, data: bytes, packed: bool) -> str:
    text = base64.b64encode(data).decode("ascii")
    how = ' data-packed="deflate"' if packed else ""
    return f'<script type="text/plain" id="{key}"{how}>{text}</script>'
