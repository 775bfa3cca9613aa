"""Monocular depth of a video: values to depth and point maps, batches, edges, the user's maps."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import pytest

from align3r.config import InputOptions
from align3r.errors import SolveError
from align3r.io.fitting import network_plan
from align3r.io.priors import Kind, PriorMap, PriorMaps
from align3r.io.video import read_frames, source_images
from align3r.mono.monocular import monocular_depth
from align3r.mono.point_map import fit_point_map, point_map
from align3r.types import Frames

SOURCE = (256, 192)


def silent(stage: str, done: int, total: int) -> None:
    pass


def frames_of(n: int, *, size: tuple[int, int] = (128, 96)) -> Frames:
    images = np.zeros((n, size[1], size[0], 3), np.uint8)
    return Frames(images, np.arange(n) / 30, 5 * np.arange(n), SOURCE, "clip.mp4")


def numbered(n: int) -> Iterator[np.ndarray]:
    """Images at the source size that tell their number."""
    for i in range(n):
        yield np.full((SOURCE[1], SOURCE[0], 3), i, np.uint8)


@dataclass
class FakeNetwork:
    """Answers what it is told to say about the image of a number."""

    say: Callable[[int], np.ndarray]
    kind: Kind = "depth"
    name: str = "fake"
    is_metric: bool = False
    batch: int = 3
    focal: Callable[[int], float | None] = lambda number: None
    asked: list[list[int]] = field(default_factory=list)
    answers: list[weakref.ref[np.ndarray]] = field(default_factory=list)

    def __call__(self, images: Sequence[np.ndarray]) -> list[PriorMap]:
        assert sum(answer() is not None for answer in self.answers) <= 1, "maps pile up"
        numbers = [int(image[0, 0, 0]) for image in images]
        self.asked.append(numbers)
        maps = [
            PriorMap(self.say(number).astype(np.float32), self.focal(number)) for number in numbers
        ]
        self.answers += [weakref.ref(answer.values) for answer in maps]
        return maps


def pixels(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """(u, v) of pixel centres, in [0, 1] across the image, whatever the resolution."""
    v, u = np.mgrid[: size[1], : size[0]]
    return (u + 0.5) / size[0], (v + 0.5) / size[1]


def plane(size: tuple[int, int], number: int = 0) -> np.ndarray:
    """Inverse depth of a plane: linear in the image."""
    u, v = pixels(size)
    return 1 + number + 0.5 * u + 0.25 * v


def test_depth_of_a_plane_is_exact_at_the_working_size() -> None:
    network = FakeNetwork(lambda i: 1 / plane(SOURCE, i), is_metric=True)
    mono = monocular_depth(numbered(4), frames_of(4), network, report=silent)
    assert (mono.depth.shape, mono.depth.dtype) == ((4, 96, 128), np.float32)
    assert (mono.is_metric, mono.name, mono.focal) == (True, "fake", None)
    for i in range(4):
        np.testing.assert_allclose(1 / mono.depth[i], plane((128, 96), i), rtol=1e-5)


def test_disparity_becomes_depth_but_not_in_the_point_map() -> None:
    network = FakeNetwork(lambda i: plane(SOURCE, i), kind="disparity")
    mono = monocular_depth(numbered(2), frames_of(2), network, report=silent)
    plan = network_plan(SOURCE, 128)
    for i in range(2):
        np.testing.assert_allclose(1 / mono.depth[i], plane((128, 96), i), rtol=1e-5)
        truth = fit_point_map(point_map(plane(SOURCE, i)), plan)
        np.testing.assert_array_equal(mono.point_maps[i], truth)
    assert mono.point_maps.dtype == np.float32


@pytest.mark.parametrize("size", [(112, 80), (512, 384), (120, 88), (256, 192)])
def test_any_working_size(size: tuple[int, int]) -> None:
    network = FakeNetwork(lambda i: 1 / plane(SOURCE, i))
    mono = monocular_depth(numbered(1), frames_of(1, size=size), network, report=silent)
    assert mono.point_maps.shape == (1, size[1], size[0], 3)
    inner = (slice(2, -2), slice(2, -2))  # beyond the outermost samples there is nothing to mix
    np.testing.assert_allclose(1 / mono.depth[0][inner], plane(size)[inner], rtol=2e-3)


@pytest.mark.parametrize("size", [(112, 80), (512, 384)])
@pytest.mark.parametrize("kind", ["depth", "disparity"])
def test_no_depth_between_two_surfaces(size: tuple[int, int], kind: Kind) -> None:
    u, v = pixels(SOURCE)
    near = np.hypot(u - 0.4, v - 0.5) < 0.23
    values = np.where(near, 1.0, 4.0)
    network = FakeNetwork(lambda i: values if kind == "depth" else 1 / values, kind=kind)
    (depth,) = monocular_depth(numbered(1), frames_of(1, size=size), network, report=silent).depth
    assert set(np.unique(depth)) == {1.0, 4.0}
    assert (depth == 1).mean() == pytest.approx(near.mean(), abs=0.01)


def test_disparity_that_says_far_away() -> None:
    values = plane(SOURCE)
    values[:50] = 0
    values[50:60] = -0.3  # as bicubic enlarging does
    values[0, 0] = 1e6  # one wild pixel does not set the range
    network = FakeNetwork(lambda i: values, kind="disparity")
    (depth,) = monocular_depth(numbered(1), frames_of(1), network, report=silent).depth
    assert np.isfinite(depth).all()
    assert depth.max() == pytest.approx(100 / np.percentile(values[values > 0], 99), rel=1e-5)
    assert (depth[:29] == depth.max())[:, 1:].all()
    np.testing.assert_allclose(1 / depth[31:], plane((128, 96))[31:], rtol=1e-4)


def test_depth_that_overshoots_below_zero() -> None:
    values = 1 / plane(SOURCE)
    values[10:20, 10:20] = -0.01
    network = FakeNetwork(lambda i: values)
    (depth,) = monocular_depth(numbered(1), frames_of(1), network, report=silent).depth
    assert depth[7, 7] == pytest.approx(np.percentile(values[values > 0], 1) / 100)
    np.testing.assert_allclose(1 / depth[12:], plane((128, 96))[12:], rtol=1e-5)


@pytest.mark.parametrize("kind", ["depth", "disparity"])
@pytest.mark.parametrize("nothing", [0.0, -1.0, 1e-40])
def test_a_frame_of_which_nothing_is_known(
    caplog: pytest.LogCaptureFixture, nothing: float, kind: Kind
) -> None:
    network = FakeNetwork(lambda i: plane(SOURCE) * (nothing if i == 1 else 1), kind=kind)
    with caplog.at_level(logging.WARNING):
        mono = monocular_depth(numbered(3), frames_of(3), network, report=silent)
    assert [record.message for record in caplog.records] == [
        "nothing is known of the depth of frame 5: it is taken as flat"
    ]
    assert (mono.depth[1] == 1).all()
    assert np.isfinite(mono.point_maps).all()
    np.testing.assert_array_equal(mono.depth[0], mono.depth[2])


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_answers_that_are_not_finite(wrong: float) -> None:
    def say(i: int) -> np.ndarray:
        return np.where(np.arange(SOURCE[0]) == 7, wrong if i == 2 else 1, plane(SOURCE))

    with pytest.raises(SolveError, match="fake answers numbers that are not finite for frame 10"):
        monocular_depth(numbered(3), frames_of(3), FakeNetwork(say), report=silent)


def test_every_frame_is_asked_for_once_in_batches_from_a_stream() -> None:
    network = FakeNetwork(lambda i: plane(SOURCE, i))
    served: list[int] = []
    told: list[tuple[str, int, int]] = []

    def stream() -> Iterator[np.ndarray]:
        for i, image in enumerate(numbered(8)):
            assert i - sum(map(len, network.asked)) < network.batch, "read ahead"
            served.append(i)
            yield image

    def report(stage: str, done: int, total: int) -> None:
        told.append((stage, done, total))

    monocular_depth(stream(), frames_of(8), network, report=report)
    assert network.asked == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert served == list(range(8))
    assert told == [("monocular depth", i, 8) for i in range(1, 9)]


@pytest.mark.parametrize("n", [2, 4])
def test_as_many_images_as_frames(n: int) -> None:
    with pytest.raises(ValueError, match="argument 2 is"):
        monocular_depth(
            numbered(n), frames_of(3), FakeNetwork(lambda i: plane(SOURCE)), report=silent
        )


def test_focal_lengths_are_in_working_pixels() -> None:
    def network(focal: Callable[[int], float | None]) -> FakeNetwork:
        return FakeNetwork(lambda i: plane(SOURCE), focal=focal)

    every = network(lambda i: 200.0 + i)
    mono = monocular_depth(numbered(3), frames_of(3), every, report=silent)
    assert mono.focal is not None
    assert (mono.focal.dtype, mono.focal.tolist()) == (np.float64, [100, 100.5, 101])
    some = network(lambda i: 200.0 if i else None)
    assert monocular_depth(numbered(3), frames_of(3), some, report=silent).focal is None


@pytest.mark.parametrize("size", [(64, 48), (256, 192), (400, 300)])
@pytest.mark.parametrize("kind", ["depth", "disparity"])
def test_maps_of_the_user_at_any_resolution(
    tmp_path: Path, size: tuple[int, int], kind: Kind
) -> None:
    def values(size: tuple[int, int], i: int) -> np.ndarray:
        return plane(size, i) if kind == "disparity" else 1 / plane(size, i)

    for i in range(2):
        focal = 3.0 * size[0]
        np.savez(tmp_path / f"{i}.npz", depth=values(size, i), focallength_px=focal)
    frames = frames_of(2)
    mono = monocular_depth([], frames, PriorMaps(tmp_path, frames, kind=kind), report=silent)
    assert mono.focal is not None
    np.testing.assert_allclose(mono.focal, 3 * 128)
    assert (mono.name, mono.is_metric) == (tmp_path.name, False)
    inner = (slice(2, -2), slice(2, -2))
    for i in range(2):
        np.testing.assert_allclose(1 / mono.depth[i][inner], plane((128, 96), i)[inner], rtol=2e-3)
        truth = fit_point_map(point_map(values(SOURCE, i)), network_plan(SOURCE, 128))
        np.testing.assert_allclose(mono.point_maps[i][inner], truth[inner], atol=0.02)


def test_from_a_video_to_depth(make_clip: Callable[..., Path]) -> None:
    u, _ = pixels((128, 96))
    images = [np.repeat((255 * u)[..., None], 3, -1).astype(np.uint8)] * 6
    clip = make_clip(images=images, size=(128, 96))
    frames = read_frames(clip, InputOptions(stride=2, size=64), fit="network")

    @dataclass
    class Brightness:
        """Bright is near."""

        name: str = "brightness"
        kind: Kind = "disparity"
        is_metric: bool = False
        batch: int = 2

        def __call__(self, images: Sequence[np.ndarray]) -> list[PriorMap]:
            return [PriorMap(image.mean(-1, dtype=np.float32), None) for image in images]

    stream = source_images(clip, frames.index)
    mono = monocular_depth(stream, frames, Brightness(), report=silent)
    assert mono.depth.shape == (3, 48, 64)
    columns = np.median(1 / mono.depth, axis=(0, 1))
    np.testing.assert_allclose(columns[4:], 255 * (np.arange(64) + 0.5)[4:] / 64, atol=6)
    z = cv2.resize(images[0][..., 0].astype(np.float32) / 255, (64, 48))
    np.testing.assert_allclose(np.median(mono.point_maps[..., 2], axis=0), z, atol=0.05)
