"""Headless Chromium, and a room that a person would recognise in its picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from devtools import FOCAL, HEIGHT, WIDTH, Browser, find_chromium

from align3r.io.maps import ArrayMaps
from align3r.reconstruction import Reconstruction


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium and some seconds")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A window of headless Chromium for the tests of a module."""
    program = find_chromium()
    if program is None:
        pytest.skip("neither chromium nor google-chrome is on the PATH")
    window = Browser(program, size=(960, 640))
    yield window
    window.close()


@pytest.fixture(scope="session")
def room() -> Reconstruction:
    """A green floor, a blue wall and a moving red disc, seen by eight cameras on a line."""
    n = 8
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    ray_y = (v - (HEIGHT - 1) / 2) / FOCAL
    wall = np.full((HEIGHT, WIDTH), 4.0)
    floor = np.where(ray_y > 0, 0.8 / np.maximum(ray_y, 1e-9), np.inf)
    depth = np.repeat(np.minimum(wall, floor)[None], n, axis=0)
    colour = np.where((floor < wall)[..., None], (40, 190, 60), (50, 80, 220))
    images = np.repeat(colour[None], n, axis=0).astype(np.uint8)
    moving = np.zeros(depth.shape, bool)
    for i in range(n):
        moving[i] = (u - 40 - 8 * i) ** 2 + (v - 50) ** 2 < 18**2
        depth[i][moving[i]] = 2.0
        images[i][moving[i]] = (230, 40, 30)
        # A pattern that goes along, so that the flow has something to hold on to.
        images[i][moving[i] & (((u - 8 * i) // 6 + v // 6) % 2 == 1)] = (120, 10, 10)
    world_from_cam = np.repeat(np.eye(4)[None], n, axis=0)
    world_from_cam[:, 0, 3] = np.linspace(0, 0.6, n)
    k = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])
    maps = ArrayMaps(
        depth=depth.astype(np.float32),
        # The left half is surer than the right.
        confidence=np.where(u < WIDTH / 2, 6.0, 2.0)[None].repeat(n, axis=0).astype(np.float32),
        moving=moving,
        images=images,
        source_size=(WIDTH, HEIGHT),
    )
    return Reconstruction(
        world_from_cam=world_from_cam,
        intrinsics=np.repeat(k[None], n, axis=0),
        times=np.arange(n) / 4.0,
        frame_index=np.arange(n),
        size=(WIDTH, HEIGHT),
        maps=maps,
    )
