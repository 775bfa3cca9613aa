"""Cuts, and what looks like one: flashes, black frames, fades, whip pans, things that pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from align3r.config import InputOptions
from align3r.io.shots import ShotFinder, picked_cuts
from align3r.io.video import read_frames, source_images

SIZE = (160, 120)
Images = list[np.ndarray]


def scene(seed: int) -> np.ndarray:
    """(240, 1600, 3) uint8: something to look at, other than every other seed."""
    rng = np.random.default_rng(seed)
    parts = [
        cv2.resize(rng.uniform(0, 1, (h, 6 * h, 3)), (1600, 240), interpolation=cv2.INTER_CUBIC)
        for h in (4, 12, 40)
    ]
    tint = rng.uniform(0.7, 1.2, 3)
    mixed = 0.5 * parts[0] + 0.3 * parts[1] + 0.2 * parts[2]
    return (255 * np.clip(mixed * tint, 0, 1)).astype(np.uint8)


def pan(seed: int, n: int, *, speed: float = 3.0, start: float = 0.0) -> Images:
    """n frames of a camera that turns by `speed` pixels a frame."""
    w, h = SIZE
    whole, frames = scene(seed), []
    for k in range(n):
        x = start + speed * k
        shift = np.array([[1, 0, -x], [0, 1, -40 - 0.5 * k]], np.float32)
        frames.append(cv2.warpAffine(whole, shift, (w, h), borderMode=cv2.BORDER_REFLECT))
    return frames


def whip(seed: int, speed: float) -> Images:
    """Ten slow frames, six fast ones with motion blur, ten slow ones."""
    slow = pan(seed, 10)
    fast = pan(seed, 6, speed=speed, start=30)
    kernel = np.full((1, max(int(speed / 2), 1)), 1 / max(int(speed / 2), 1), np.float32)
    fast = [cv2.filter2D(image, -1, kernel) for image in fast]
    return [*slow, *fast, *pan(seed, 10, start=30 + 6 * speed)]


def scaled(images: Images, gains: dict[int, float]) -> Images:
    return [
        np.clip(image * gains.get(k, 1.0), 0, 255).astype(np.uint8)
        for k, image in enumerate(images)
    ]


def cuts_in(images: Images) -> list[int]:
    finder = ShotFinder()
    for number, image in enumerate(images):
        finder.add(image, number)
    return list(finder.finish())


def dissolve(a: Images, b: Images, n: int) -> Images:
    parts = np.linspace(0, 1, n)
    mixed = [
        cv2.addWeighted(x, 1 - t, y, t, 0) for x, y, t in zip(a[-n:], b[:n], parts, strict=True)
    ]
    return [*a[:-n], *mixed, *b[n:]]


BLACK = np.zeros((*SIZE[::-1], 3), np.uint8)
NO_CUTS: dict[str, Callable[[], Images]] = {
    "a slow pan": lambda: pan(1, 30),
    "a camera that stands": lambda: pan(1, 30, speed=0),
    "a flash": lambda: scaled(pan(1, 30), {14: 3.0, 15: 2.0}),
    "a white flash": lambda: scaled(pan(1, 30), {14: 99.0}),
    "black frames": lambda: scaled(pan(1, 30), {k: 0.0 for k in range(10, 16)}),
    "a fade out and in": lambda: scaled(pan(1, 40), {k: abs(k - 20) / 8 for k in range(12, 28)}),
    "light that is switched on": lambda: scaled(pan(1, 30), {k: 0.3 for k in range(15)}),
    "a dissolve": lambda: dissolve(pan(1, 25), pan(2, 25), 10),
    "one frame of something else": lambda: [*pan(1, 15), *pan(2, 1), *pan(1, 14, start=48)],
    "a whip pan": lambda: whip(1, 40),
    "a whip pan beyond any overlap": lambda: whip(1, 130),
    "a shake": lambda: [f for k in range(12) for f in pan(1, 2, speed=25, start=20 * (k % 2))],
    "black alone": lambda: [BLACK] * 12,
    "one frame": lambda: pan(1, 1),
}
CUTS: dict[str, tuple[Callable[[], Images], list[int]]] = {
    "a cut": (lambda: [*pan(1, 15), *pan(2, 15)], [15]),
    "three shots": (lambda: [*pan(1, 12), *pan(2, 9), *pan(3, 12)], [12, 21]),
    "and back again": (lambda: [*pan(1, 12), *pan(2, 9), *pan(1, 12, start=36)], [12, 21]),
    "in the dark": (lambda: [image // 5 for image in [*pan(1, 15), *pan(2, 15)]], [15]),
    "behind black frames": (lambda: [*pan(1, 15), *[BLACK] * 3, *pan(2, 15)], [18]),
    "behind a fade": (
        lambda: scaled([*pan(1, 20), *pan(2, 20)], {k: abs(k - 20) / 8 for k in range(12, 28)}),
        [21],
    ),
    "next to a flash": (lambda: [*scaled(pan(1, 15), {14: 1.8}), *pan(2, 15)], [15]),
    "while the camera moves fast": (
        lambda: [*pan(1, 15, speed=10), *pan(2, 15, speed=10)],
        [15],
    ),
    "near the ends": (lambda: [*pan(1, 5), *pan(2, 5)], [5]),
}


@pytest.mark.parametrize("what", NO_CUTS)
def test_no_cut(what: str) -> None:
    assert cuts_in(NO_CUTS[what]()) == []


@pytest.mark.parametrize("what", CUTS)
def test_a_cut(what: str) -> None:
    images, where = CUTS[what]
    assert cuts_in(images()) == where


def test_little_is_kept() -> None:
    finder = ShotFinder()
    for number, image in enumerate(pan(1, 80)):
        finder.add(image, number)
        assert len(finder._kept) <= 16


def test_size_and_colour_order_make_no_difference() -> None:
    images = [*pan(1, 12), *pan(2, 12)]
    large = [cv2.resize(image, (1280, 960))[..., ::-1] for image in images]
    assert cuts_in([np.ascontiguousarray(image) for image in large]) == [12]


def test_cuts_between_frames_that_take_part() -> None:
    index = np.array([4, 8, 12, 16])
    assert picked_cuts((2, 4, 5, 8, 13, 15, 40), index) == (1, 3)
    assert picked_cuts((), index) == ()


def test_cuts_of_a_video_are_looked_for_in_all_its_frames(make_clip: Callable[..., Path]) -> None:
    clip = make_clip("cut.avi", images=[*pan(1, 20), *pan(2, 20), *pan(3, 20)])
    frames = read_frames(clip, InputOptions(max_frames=7, size=64))
    assert frames.cuts == (2, 5) and frames.index[[1, 2, 4, 5]].tolist() == [10, 20, 39, 49]
    assert read_frames(clip, InputOptions(start=2.0, stop=3.9, size=64)).cuts == ()
    assert read_frames(clip, InputOptions(start=1.5, stride=5, size=64)).cuts == (1, 5)


@pytest.fixture
def real_videos(data_root: Path) -> Iterator[Path]:
    return iter(
        [
            data_root / "clips" / "lady-running.mp4",
            data_root / "rgbd_static_a" / "rgb.txt",
            data_root / "rgbd_dynamic_composite" / "rgb.txt",
        ]
    )


def test_no_false_alarm_in_real_videos_and_every_cut_between_them(
    real_videos: Iterator[Path],
) -> None:
    joined: Images = []
    borders = []
    for path in real_videos:
        frames = read_frames(path, InputOptions(size=64))
        assert frames.cuts == (), path.name
        assert read_frames(path, InputOptions(size=64, max_frames=9)).cuts == (), path.name
        images = source_images(path, frames.index)
        joined += [cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA) for image in images]
        borders.append(len(joined))
    # The last two are of one room: from one to the other the camera may as well have turned.
    assert cuts_in(joined)[:1] == borders[:1]
    assert set(cuts_in(joined)) <= set(borders)
