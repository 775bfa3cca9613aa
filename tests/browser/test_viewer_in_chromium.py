"""scene.html and the live viewer as a browser shows them."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from align3r.reconstruction import Reconstruction
from align3r.view.html import write_html
from align3r.view.server import serve

Screenshot = Callable[..., np.ndarray]


def count(picture: np.ndarray, colour: str) -> int:
    """Pixels where one channel of a BGR picture is twice as strong as both others."""
    values = picture.astype(int)
    channel = "bgr".index(colour)
    others = np.delete(values, channel, axis=-1).max(axis=-1)
    return int(np.count_nonzero((values[..., channel] > 90) & (values[..., channel] > 2 * others)))


@pytest.mark.browser
def test_scene_html_shows_static_and_moving_points(
    room: Reconstruction, screenshot: Screenshot, tmp_path: Path
) -> None:
    write_html(room, tmp_path / "scene.html")
    picture = screenshot((tmp_path / "scene.html").as_uri(), tmp_path / "picture.png")
    assert count(picture, "g") > 10_000, "the floor is missing"
    assert count(picture, "b") > 10_000, "the wall is missing"
    assert count(picture, "r") > 500, "the moving disc is missing"


@pytest.mark.browser
def test_playback_moves_what_moves(
    room: Reconstruction, screenshot: Screenshot, tmp_path: Path
) -> None:
    write_html(room, tmp_path / "scene.html")
    address = (tmp_path / "scene.html").as_uri()
    pictures = [screenshot(address, tmp_path / f"{t}.png", seconds=t) for t in (3.1, 4.6)]
    where = []
    for picture in pictures:
        values = picture.astype(int)
        red = (values[..., 2] > 120) & (values[..., :2].max(axis=-1) < 80)
        where.append(np.nonzero(red)[1].mean())
    assert abs(where[0] - where[1]) > 5, "the disc stands still"


@pytest.mark.browser
def test_the_live_viewer_shows_the_scene(
    room: Reconstruction, screenshot: Screenshot, tmp_path: Path
) -> None:
    viewer = serve(room, port=0, block=False)
    try:
        picture = screenshot(viewer.url, tmp_path / "picture.png", seconds=8)
    finally:
        viewer.close()
    assert count(picture, "g") > 5_000
    assert count(picture, "b") > 5_000


def test_scene_html_needs_nothing_from_elsewhere(room: Reconstruction, tmp_path: Path) -> None:
    write_html(room, tmp_path / "scene.html")
    page = (tmp_path / "scene.html").read_text(encoding="utf-8")
    named = set(re.findall(r"https?://[\w./-]+", page))
    assert named <= {"http://www.w3.org/2000/svg"}, "a namespace is no link; anything else is"
    tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?\b(?:src|href)=[\"']([^\"']*)", page)
    assert all(address.startswith("data:") for address in tags)


def test_the_live_viewer_starts_quickly_plays_and_stops(room: Reconstruction) -> None:
    started = time.perf_counter()
    viewer = serve(room, port=0, block=False)
    try:
        assert time.perf_counter() - started < 20
        assert viewer.url.startswith("http://127.0.0.1:")
        first = viewer.panel.frame.value
        deadline = time.monotonic() + 10
        while viewer.panel.frame.value == first and time.monotonic() < deadline:
            time.sleep(0.05)
        assert viewer.panel.frame.value != first, "play does not advance the timeline"
        waiting = threading.Thread(target=viewer.wait)
        waiting.start()
    finally:
        viewer.close()
    waiting.join(timeout=10)
    assert not waiting.is_alive()
