"""Loop pairs on rendered clips: there where the camera comes back, nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from special_clips import POSTER, clip_of

from align3r.config import PairOptions
from align3r.datasets.rendered.paints import mottled, patches
from align3r.datasets.rendered.poses import look, still
from align3r.datasets.rendered.raycast import Solid
from align3r.pairing import build_pairs, find_loops

GROUP = 4
N_KEYS = 20
SWIN = PairOptions(graph="swin", group=GROUP)
DARK, LIGHT = (0.25, 0.2, 0.15), (0.9, 0.85, 0.8)


def gallery() -> list[Solid]:
    """A long wall with a different picture every two metres."""
    wall = mottled(DARK, LIGHT, seed=5, coarse=0.5)
    solids = [Solid("box", (40, 30, 0.02), wall, still((0, 0, 3)))]
    for k in range(-6, 7):
        picture = patches(POSTER, seed=10 + k, coarse=0.3)
        place = still((2.0 * k, 0.3 * (k % 3 - 1), 2.9))
        solids.append(Solid("box", (0.7, 0.5, 0.02), picture, place))
    return solids


def twin_pictures() -> list[Solid]:
    """The same picture twice, eight metres apart, on a wall that is different everywhere."""
    wall = mottled(DARK, LIGHT, seed=7, coarse=0.35)
    solids = [Solid("box", (40, 30, 0.02), wall, still((0, 0, 3)))]
    for x in (-4.0, 4.0):
        picture = patches(POSTER, seed=3, coarse=0.2)
        solids.append(Solid("box", (0.5, 0.4, 0.02), picture, still((x, 0, 2.9))))
    return solids


def along(x: Callable[[float], float]) -> Callable[[float], np.ndarray]:
    """A camera that looks at the wall from x, a little from the side."""

    def camera(s: float) -> np.ndarray:
        place = np.array([x(s), 0.1 * np.sin(9 * s), 0.2 * np.cos(5 * s)])
        return look(place, np.array([x(s) + 0.3 * np.sin(4 * s), 0.0, 3.0]), 0)

    return camera


def seen(solids: list[Solid], x: Callable[[float], float]) -> np.ndarray:
    """(N, h, w, 3) frames; between keyframes the camera stands."""
    clip = clip_of(solids, along(x), N_KEYS, size=(192, 144))
    return np.repeat(clip.images, GROUP, axis=0)


def there_and_back(s: float) -> float:
    return 9.0 * (1 - abs(2 * s - 1)) - 4.5


@pytest.fixture(scope="module")
def returning() -> np.ndarray:
    return seen(gallery(), there_and_back)


@pytest.fixture(scope="module")
def going_on() -> np.ndarray:
    return seen(gallery(), lambda s: 20.0 * s - 10.0)


def test_a_camera_that_comes_back_yields_loop_pairs_of_the_right_frames(
    returning: np.ndarray,
) -> None:
    loops = find_loops(returning, SWIN)
    x = np.array([there_and_back(k / (N_KEYS - 1)) for k in range(N_KEYS)])
    apart = np.abs(x[loops[:, 0] // GROUP] - x[loops[:, 1] // GROUP])
    assert (loops[:, 1] - loops[:, 0] > 30).all()
    # The view is 3.3 m wide: two fifths of it are shared.
    assert apart.max() < 2.0
    first, second = N_KEYS // 2 - 4, N_KEYS // 2 + 5
    later = set((loops[:, 1] // GROUP).tolist())
    assert set(range(second, N_KEYS)) <= later, "every view of the way back was seen before"
    assert (loops[:, 0] // GROUP).max() <= first
    assert np.bincount(loops[:, 1]).max() <= 3


def test_a_camera_that_goes_on_yields_none(going_on: np.ndarray) -> None:
    assert find_loops(going_on, SWIN).shape == (0, 2)


def test_the_same_thing_in_two_places_is_no_loop() -> None:
    images = seen(twin_pictures(), lambda s: 9.0 * s - 4.5)
    assert find_loops(images, SWIN).shape == (0, 2)


def test_an_overlay_is_no_loop(returning: np.ndarray, going_on: np.ndarray) -> None:
    images = going_on.copy()
    images[:, -40:, :120] = returning[0, 30:70, 40:160]
    assert find_loops(images, SWIN).shape == (0, 2)


def test_they_are_the_same_every_time_and_only_where_they_are_wanted(
    returning: np.ndarray,
) -> None:
    told: list[tuple[int, int]] = []
    loops = find_loops(returning, SWIN, on_pair=lambda k, n: told.append((k, n)))
    np.testing.assert_array_equal(find_loops(returning, SWIN), loops)
    assert [k for k, _ in told] == list(range(1, told[0][1] + 1))
    assert told[0][1] <= 4 * N_KEYS, "linear in the frames"
    for options in (
        replace(SWIN, loops=False),
        replace(SWIN, graph="complete"),
        replace(SWIN, graph="oneref"),
        PairOptions(graph="keyframes", group=10),  # its keyframes are all paired already
    ):
        assert find_loops(returning, options).shape == (0, 2)
    assert find_loops(returning[:28], SWIN).shape == (0, 2), "short videos have none"


def test_loops_join_the_graph(returning: np.ndarray) -> None:
    options = PairOptions(graph="keyframes", group=GROUP)
    loops = find_loops(returning, options)
    assert len(loops) and (loops[:, 1] - loops[:, 0] > 9 * GROUP).all()
    plain, joined = build_pairs(80, options), build_pairs(80, options, loops=loops)
    assert len(joined) == len(plain) + len(loops)
    assert {tuple(e) for e in joined.tolist()} == {tuple(e) for e in [*plain, *loops]}
    both = build_pairs(80, replace(options, symmetric=True), loops=loops)
    np.testing.assert_array_equal(both[len(joined) :], joined[:, ::-1])


def test_frames_without_texture_have_no_loops() -> None:
    assert find_loops(np.full((80, 96, 128, 3), 120, np.uint8), SWIN).shape == (0, 2)
