"""Fixtures that every kind of test shares."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import settings
from levels import level_images

from align3r.io.maps import ArrayMaps
from align3r.reconstruction import Reconstruction

# A shared machine may stall for a moment; how long an example takes says nothing here.
settings.register_profile("align3r", deadline=None)
settings.load_profile("align3r")

REPOSITORY = Path(__file__).resolve().parents[1]
FOURCC = {".mp4": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".webm": "VP80", ".avi": "MJPG"}


def pytest_configure(config: pytest.Config) -> None:
    """Processes that share the cores keep to one thread each, with the programs they start."""
    if getattr(config.option, "numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The real sequences, beside the checkout or where ALIGN3R_TEST_DATA says."""
    root = Path(os.environ.get("ALIGN3R_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"no real test data at {root}; set ALIGN3R_TEST_DATA")
    return root


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., None]:
    """Run ffmpeg with the given arguments; skips where there is none."""
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("ffmpeg is not installed")

    def run(*arguments: str | Path) -> None:
        command = [program, "-v", "error", "-y", *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True)

    return run


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """Write a small video: make_clip(name="clip.mp4", images=None, *, n=10, size=..., fps=10)."""

    def make(
        name: str = "clip.mp4",
        images: Sequence[np.ndarray] | None = None,
        *,
        n: int = 10,
        size: tuple[int, int] = (64, 48),
        fps: float = 10.0,
    ) -> Path:
        images = level_images(n, size) if images is None else images
        path = tmp_path / name
        fourcc = cv2.VideoWriter.fourcc(*FOURCC[path.suffix])
        writer = cv2.VideoWriter(str(path), fourcc, fps, images[0].shape[1::-1])
        assert writer.isOpened(), f"this OpenCV cannot write {path.suffix}"
        for image in images:
            writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        writer.release()
        return path

    return make


@pytest.fixture
def make_scene() -> Callable[..., Reconstruction]:
    """A small scene with random maps: make_scene(n=3, *, size=(80, 60), working=(40, 32))."""

    def make(
        n: int = 3,
        *,
        size: tuple[int, int] = (80, 60),
        working: tuple[int, int] = (40, 32),
        seed: int = 0,
    ) -> Reconstruction:
        rng = np.random.default_rng(seed)
        shape = (n, working[1], working[0])
        depth = rng.uniform(1, 4, shape).astype(np.float32)
        depth[:, :3, :5] = np.nan
        maps = ArrayMaps(
            depth=depth,
            confidence=rng.uniform(1, 9, shape).astype(np.float32),
            moving=rng.uniform(size=shape) < 0.2,
            images=rng.integers(0, 255, (*shape, 3), np.uint8),
            source_size=size,
        )
        world_from_cam = np.repeat(np.eye(4)[None], n, axis=0)
        for i in range(n):
            world_from_cam[i, :3, :3] = cv2.Rodrigues(np.array([0.1, -0.2, 0.05]) * i)[0]
            world_from_cam[i, :3, 3] = (0.1 * i, -0.02 * i, 0.03 * i)
        width, height = size
        k = np.array([[70.0, 0, (width - 1) / 2], [0, 72.0, (height - 1) / 2], [0, 0, 1]])
        return Reconstruction(
            world_from_cam=world_from_cam,
            intrinsics=np.repeat(k[None], n, axis=0),
            times=np.arange(n) / 10 + 0.5,
            frame_index=np.arange(n) * 2,
            size=size,
            maps=maps,
            info={"seed": 3, "losses": {"total": 0.5}, "warnings": ["no parallax"]},
        )

    return make
