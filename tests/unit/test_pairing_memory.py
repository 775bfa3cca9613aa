from __future__ import annotations

import math
import re

import numpy as np
import pytest

from align3r.config import PairOptions
from align3r.errors import NoRoomError
from align3r.pairing import build_pairs, plan_memory, require_room


def test_items_are_the_sizes_of_the_arrays_that_will_exist() -> None:
    n, e, (w, h) = 3, 5, (40, 30)
    plan = plan_memory(n, e, (w, h))
    assert plan.frames == np.zeros((n, h, w, 3), np.uint8).nbytes
    points, confidence = np.zeros((e, 2, h, w, 3), np.float16), np.zeros((e, 2, h, w), np.float16)
    assert plan.predictions == points.nbytes + confidence.nbytes
    flow, valid = np.zeros((e, h, w, 2), np.float16), np.zeros((e, h, w), bool)
    assert plan.flows == 2 * (flow.nbytes + valid.nbytes)
    depth, moving = np.zeros((n, h, w), np.float32), np.zeros((n, h, w), bool)
    assert plan.solution == 2 * depth.nbytes + moving.nbytes
    assert plan.total_gb == pytest.approx(plan.total_bytes / 1e9)


def test_description_is_one_line_with_the_numbers() -> None:
    line = plan_memory(30, 138, (512, 288)).describe()
    assert "\n" not in line
    assert "30 frames of 512x288, 138 pairs: 1.3 GB" in line
    assert "1 frame of 64x48, 1 pair: " in plan_memory(1, 1, (64, 48)).describe()


def test_enough_room_is_no_error() -> None:
    plan = plan_memory(30, 138, (512, 288))
    require_room(plan, plan.total_bytes)
    with pytest.raises(NoRoomError):
        require_room(plan, plan.total_bytes - 1)


@pytest.mark.parametrize("options", [PairOptions(), PairOptions(graph="swinstride")])
@pytest.mark.parametrize("free_gb", [1.5, 3.0, 6.0])
def test_both_ways_out_do_fit(options: PairOptions, free_gb: float) -> None:
    n, size = 300, (512, 288)
    plan = plan_memory(n, len(build_pairs(n, options)), size)
    with pytest.raises(NoRoomError, match=rf"{free_gb:.1f} GB are free") as caught:
        require_room(plan, int(free_gb * 1e9))
    long_side, stride = (
        int(x) for x in re.findall(r"--input\.(?:size|stride) (\d+)", caught.value.hint)
    )
    smaller = (long_side, math.ceil(long_side * 288 / 512))
    require_room(plan_memory(n, plan.n_pairs, smaller), int(free_gb * 1e9))
    fewer = math.ceil(n / stride)
    require_room(plan_memory(fewer, len(build_pairs(fewer, options)), size), int(free_gb * 1e9))


@pytest.mark.parametrize("free_bytes", [100_000_000, 610_000_000])
def test_no_room_for_any_plan_says_so(free_bytes: int) -> None:
    with pytest.raises(NoRoomError) as caught:
        require_room(plan_memory(30, 435, (512, 288)), free_bytes)
    assert "more memory" in caught.value.hint


def test_monocular_depth_is_in_the_plan() -> None:
    plain = plan_memory(1000, 1000, (512, 288))
    assert plain.with_mono().total_bytes - plain.total_bytes == 1000 * 512 * 288 * 16
