"""scene.html: one file that plays the reconstruction in any browser, without a server."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from align3r.errors import UsageError
from align3r.reconstruction import Reconstruction
from align3r.view import viser_scene as vs
from align3r.view.palette import spread
from align3r.view.sampling import moving_cloud, static_cloud

if TYPE_CHECKING:
    import viser

log = logging.getLogger(__name__)

CLIENT_BYTES = 1_000_000
"""The viewer program inside every scene.html."""
POINT_BYTES = 15
"""Three float32 and three uint8 before base64."""
BASE64 = 4 / 3
MOST_STEPS = 150
"""Most moments of the playback; longer videos show every n-th frame."""
MOST_STATIC = 250_000
MOST_MOVING = 12_000
"""Most moving points of one moment."""


@dataclass(frozen=True)
class Budget:
    """How much of everything fits into the file."""

    steps: np.ndarray
    """(S,) frames that are shown one after the other."""
    static: int
    """Static points."""
    moving: int
    """Moving points a moment."""
    thumbnail: int
    """Pixels across the image of a camera."""


def write_html(
    scene: Reconstruction,
    path: Path,
    *,
    max_bytes: int = 15_000_000,
    min_confidence: float = 1.5,
) -> None:
    """Write a self-contained viewer with playback at the video's own speed.

    It shows the static points of the whole video, the moving points of the current moment,
    all cameras and the image in the current one. No part of it is fetched from elsewhere.

    Args:
        scene: The reconstruction.
        path: File to write.
        max_bytes: The file is thinned to fit into this size.
        min_confidence: Points below this confidence are left out.

    Raises:
        UsageError: `max_bytes` is too small for the viewer program itself.
        InputError: No local port can be opened; viser records a scene only with one.
        OSError: The file cannot be written.
    """
    share = 1.0
    while True:
        budget = plan(scene, max_bytes=max_bytes, share=share)
        page = render(scene, budget, min_confidence=min_confidence)
        size = len(page.encode())
        if size <= max_bytes:
            break
        share *= 0.9 * max_bytes / size
    log.info("%s: %.1f MB, %d moments", path.name, size / 1e6, len(budget.steps))
    path.write_text(page, encoding="utf-8")


def plan(scene: Reconstruction, *, max_bytes: int, share: float = 1.0) -> Budget:
    """Divide the file: pictures first, then half of the rest each to static and moving points.

    Raises:
        UsageError: Less than 50 kB would be left for the scene.
    """
    room = (max_bytes - CLIENT_BYTES) / BASE64 * share
    if room < 50_000:
        raise UsageError(
            f"scene.html cannot be made in {max_bytes / 1e6:.1f} MB: the viewer alone takes "
            f"{CLIENT_BYTES / 1e6:.1f} MB",
            hint="allow at least 2 MB",
        )
    steps = spread(len(scene), int(np.clip(room / 20_000, 1, MOST_STEPS)))
    thumbnail = 160 if room / len(steps) > 40_000 else 96
    room -= len(steps) * thumbnail**2 * 0.3
    static = min(MOST_STATIC, int(room / 2 / POINT_BYTES))
    moving = min(MOST_MOVING, int((room - static * POINT_BYTES) / POINT_BYTES / len(steps)))
    return Budget(steps, max(static, 100), max(moving, 20), thumbnail)


def render(scene: Reconstruction, budget: Budget, *, min_confidence: float) -> str:
    """The page as one string."""
    look = vs.choose_look(scene, max_points=budget.static)
    server = vs.start_server("127.0.0.1", 0)
    try:
        recorder = server.get_scene_serializer()
        vs.set_stage(server, scene, look)
        cloud = static_cloud(scene, max_points=budget.static, min_confidence=min_confidence)
        if not len(cloud):
            log.warning("no static point has confidence %.2f: scene.html is empty", min_confidence)
        vs.add_cloud(server, "/static points", cloud, look=look)
        vs.add_path(server, scene, look)
        for i in spread(len(scene), 24):
            vs.add_frustum(server, scene, int(i), look=look, name=f"/cameras/all/{i:06d}")
        moments = [
            _add_moment(server, scene, int(i), look=look, budget=budget) for i in budget.steps
        ]
        _record_playback(recorder, moments, scene.times[budget.steps])
        return str(recorder.as_html(dark_mode=True))
    finally:
        vs.stop_server(server)


def _add_moment(
    server: viser.ViserServer, scene: Reconstruction, i: int, *, look: vs.Look, budget: Budget
) -> list[Any]:
    """The nodes that only one moment shows, hidden: its camera with image, its moving points."""
    camera = vs.add_frustum(
        server,
        scene,
        i,
        look=look,
        name=f"/cameras/current/{i:06d}",
        thumbnail=budget.thumbnail,
        visible=False,
    )
    cloud = moving_cloud(scene, i, max_points=budget.moving)
    if not len(cloud):
        return [camera]
    name = f"/moving points/{i:06d}"
    return [camera, vs.add_cloud(server, name, cloud, look=look, visible=False)]


def _record_playback(recorder: Any, moments: list[list[Any]], times: np.ndarray) -> None:
    """Show one moment after the other, each for as long as it lasted in the video."""
    steps = np.diff(times)
    last = float(np.median(steps)) if len(steps) else 0.0
    for number, nodes in enumerate(moments):
        for node in nodes:
            node.visible = True
        if number > 0:
            for node in moments[number - 1]:
                node.visible = False
        if len(moments) > 1:
            recorder.insert_sleep(float(steps[number]) if number < len(steps) else last)
