"""Start, stop, stride, rate and count, against a slow twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from align3r.config import InputOptions
from align3r.errors import UsageError
from align3r.io.picking import FramePicker, check_input_options, spread


def picked(times: np.ndarray, *, thin: bool = True, **options: float) -> list[int]:
    picker = FramePicker(InputOptions(**options), thin_to_fps=thin)
    return [number for number, time in enumerate(times) if picker.wants(float(time))]


THIRTY = np.arange(60) / 30


def test_start_and_stop_are_inclusive_and_exclusive() -> None:
    assert picked(THIRTY, start=0.5, stop=1.0) == list(range(15, 30))


def test_start_counts_from_the_first_frame() -> None:
    assert picked(THIRTY + 1_311_868_164.36, start=1.0) == list(range(30, 60))


def test_stride_counts_from_the_first_frame_inside() -> None:
    assert picked(THIRTY, start=0.1, stride=20) == [3, 23, 43]


@pytest.mark.parametrize(("fps", "step"), [(10, 3), (15, 2), (30, 1), (60, 1)])
def test_rate_thins_a_regular_video_regularly(fps: float, step: int) -> None:
    assert picked(THIRTY, fps=fps) == list(range(0, 60, step))


def test_rate_of_ntsc_video_with_millisecond_times_stays_regular() -> None:
    times = np.round(np.arange(300) * 1001 / 30000, 3)
    assert picked(times, fps=30000 / 1001 / 3) == list(range(0, 300, 3))


def test_rate_never_adds_frames_to_gaps() -> None:
    times = np.array([0.0, 0.1, 0.2, 2.0, 2.01, 2.02, 2.5])
    assert picked(times, fps=5) == [0, 2, 3, 6]


def test_images_take_the_rate_as_their_own() -> None:
    assert picked(np.arange(5) / 2, thin=False, fps=2) == [0, 1, 2, 3, 4]


@given(
    times=st.lists(st.floats(0.001, 0.5), min_size=1, max_size=80).map(np.cumsum),
    start=st.floats(0, 3),
    length=st.floats(0.1, 5),
    stride=st.integers(1, 5),
)
def test_equals_the_obvious_list(
    times: np.ndarray, start: float, length: float, stride: int
) -> None:
    elapsed = times - times[0]
    inside = (elapsed >= start - 1e-6) & (elapsed < start + length - 1e-6)
    expected = np.flatnonzero(inside)[::stride].tolist()
    assert picked(times, start=start, stop=start + length, stride=stride) == expected


@given(
    times=st.lists(st.floats(0.001, 0.5), min_size=1, max_size=80).map(np.cumsum),
    fps=st.floats(0.5, 40),
)
def test_at_most_that_many_a_second(times: np.ndarray, fps: float) -> None:
    taken = times[picked(times, fps=fps)]
    assert taken[0] == times[0]
    assert len(taken) <= np.floor((taken[-1] - taken[0] + 1e-3) * fps) + 1


@given(st.integers(0, 50), st.integers(1, 60))
def test_spread_keeps_the_ends_and_the_order(n: int, count: int) -> None:
    chosen = spread(list(range(n)), count)
    assert len(chosen) == min(n, count)
    assert chosen == sorted(set(chosen))
    if n and count > 1:
        assert (chosen[0], chosen[-1]) == (0, n - 1)
        assert np.ptp(np.diff(chosen)) <= 1 if len(chosen) > 1 else True


@pytest.mark.parametrize(
    "options",
    [
        {"start": -1.0},
        {"start": float("nan")},
        {"start": 2.0, "stop": 2.0},
        {"stop": 0.0},
        {"stride": 0},
        {"fps": 0.0},
        {"fps": float("inf")},
        {"max_frames": 0},
        {"size": 31},
    ],
)
def test_senseless_options_are_usage_errors(options: dict[str, float]) -> None:
    with pytest.raises(UsageError) as caught:
        check_input_options(InputOptions(**options))
    assert caught.value.exit_code == 2
    assert caught.value.hint
