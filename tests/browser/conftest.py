"""Headless Chromium, and a room that a person would recognise in its picture."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from align3r.io.maps import ArrayMaps
from align3r.reconstruction import Reconstruction

WIDTH, HEIGHT, FOCAL = 160, 120, 150.0


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "browser: needs Chromium and some seconds")


@pytest.fixture(scope="session")
def screenshot() -> Callable[[str, Path], np.ndarray]:
    """Load an address, let its clock run for some seconds, give the (h, w, 3) picture."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("neither chromium nor google-chrome is on the PATH")

    def take(address: str, path: Path, *, seconds: float = 6.0) -> np.ndarray:
        command = [program, "--headless", "--no-sandbox", "--disable-gpu-sandbox"]
        command += ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        command += ["--window-size=960,640", f"--virtual-time-budget={round(seconds * 1000)}"]
        command += [f"--user-data-dir={path.parent / 'profile'}", f"--screenshot={path}", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
        assert path.is_file(), done.stderr[-2000:]
        picture = cv2.imread(str(path))
        assert picture is not None
        return picture

    return take


@pytest.fixture(scope="session")
def room() -> Reconstruction:
    """A green floor, a blue wall and a moving red disc, seen by five cameras on a line."""
    n = 5
    v, u = np.mgrid[:HEIGHT, :WIDTH]
    ray_y = (v - (HEIGHT - 1) / 2) / FOCAL
    wall = np.full((HEIGHT, WIDTH), 4.0)
    floor = np.where(ray_y > 0, 0.8 / np.maximum(ray_y, 1e-9), np.inf)
    depth = np.repeat(np.minimum(wall, floor)[None], n, axis=0)
    colour = np.where((floor < wall)[..., None], (40, 190, 60), (50, 80, 220))
    images = np.repeat(colour[None], n, axis=0).astype(np.uint8)
    moving = np.zeros(depth.shape, bool)
    for i in range(n):
        moving[i] = (u - 50 - 15 * i) ** 2 + (v - 50) ** 2 < 18**2
        depth[i][moving[i]] = 2.0
        images[i][moving[i]] = (230, 40, 30)
    world_from_cam = np.repeat(np.eye(4)[None], n, axis=0)
    world_from_cam[:, 0, 3] = np.linspace(0, 0.6, n)
    k = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])
    maps = ArrayMaps(
        depth=depth.astype(np.float32),
        confidence=np.full(depth.shape, 5.0, np.float32),
        moving=moving,
        images=images,
        source_size=(WIDTH, HEIGHT),
    )
    return Reconstruction(
        world_from_cam=world_from_cam,
        intrinsics=np.repeat(k[None], n, axis=0),
        times=np.arange(n) / 2.0,
        frame_index=np.arange(n),
        size=(WIDTH, HEIGHT),
        maps=maps,
    )
