from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from align3r.config import Options, PairOptions
from align3r.errors import NoRoomError
from align3r.pairing import MemoryPlan, Room, build_pairs, plan_memory, require_room
from align3r.pairing.memory import LEAST_PIXELS
from align3r.planning import as_planned

GB = 10**9
SIZE = (512, 288)


def room(memory: float, disk: float = 1e6, *, machine: float | None = None) -> Room:
    """In GB."""
    whole = memory if machine is None else machine
    return Room(int(memory * GB), int(disk * GB), int(whole * GB))


def wanted(n: int, options: PairOptions | None = None, **more: Any) -> MemoryPlan:
    pairs = len(build_pairs(n, options or PairOptions()))
    return MemoryPlan(n_frames=n, n_pairs=pairs, size=SIZE, most_pixels=2304, **more)


def test_items_are_the_sizes_of_the_arrays_that_will_exist() -> None:
    n, e, (w, h) = 3, 5, (40, 30)
    plan = MemoryPlan(n_frames=n, n_pairs=e, size=(w, h))
    assert plan.frames == np.zeros((n, h, w, 3), np.uint8).nbytes
    points, confidence = np.zeros((e, 2, h, w, 3), np.float16), np.zeros((e, 2, h, w), np.float16)
    assert plan.predictions == points.nbytes + confidence.nbytes
    flow, valid = np.zeros((e, h, w, 2), np.float16), np.zeros((e, h, w), bool)
    assert plan.flows == 2 * (flow.nbytes + valid.nbytes)
    assert plan.solution == 4 * np.zeros((n, h, w), np.float32).nbytes
    assert plan.total_gb == pytest.approx(plan.total_bytes / 1e9)
    mono = np.zeros((n, h, w, 4), np.float32).nbytes
    assert replace(plan, looks_at_mono=True).total_bytes - plan.total_bytes == mono


def test_description_is_one_line_with_the_numbers() -> None:
    line = plan_memory(wanted(30), room(8)).describe()
    assert "\n" not in line
    assert "30 frames of 512x288, 138 pairs: 1.4 GB" in line
    assert "disk" not in line and "pixels" not in line
    alone = MemoryPlan(n_frames=1, n_pairs=1, size=(64, 48)).describe()
    assert "1 frame of 64x48, 1 pair: " in alone


def test_what_does_not_fit_goes_to_files_the_largest_first() -> None:
    plan = wanted(1000)
    assert plan_memory(plan, room(64)).in_files == frozenset()
    tight = plan_memory(plan, room(18))
    assert tight.in_files == {"predictions"}
    assert tight.total_bytes <= 18 * GB and tight.disk_bytes == plan.predictions
    tighter = plan_memory(plan, room(9))
    assert tighter.in_files == {"predictions", "flows"}
    assert "on disk" in tighter.describe() and "flows, predictions" in tighter.describe()
    assert plan_memory(tighter, room(64)).in_files == frozenset(), "what is planned can be anew"
    for budget in (6, 8, 18, 64):
        require_room(plan_memory(plan, room(budget)), room(budget))


def test_encoded_frames_wait_on_the_disk_where_the_memory_is_short() -> None:
    plan = wanted(100, network=2 * GB, encoded=2 * GB)
    whole = plan_memory(plan, room(64))
    tight = plan_memory(plan, room((whole.total_bytes - 1) / GB, machine=64))
    assert whole.in_files == frozenset() and tight.in_files == {"encoded"}
    assert tight.total_bytes == whole.total_bytes - 2 * GB
    options = as_planned(Options(), tight)
    assert options.network.cache_gb == 0 and options.align.pixels == tight.pixels
    assert as_planned(Options(), whole).network.cache_gb == 2.0


def test_a_run_that_can_be_interrupted_needs_the_disk_even_with_memory_enough() -> None:
    plan = plan_memory(wanted(30, staged=True), room(64))
    assert plan.in_files == frozenset()
    assert plan.disk_bytes == plan.predictions + plan.flows
    with pytest.raises(NoRoomError, match=r"0\.5 GB of disk, 0\.1 GB are free") as caught:
        require_room(plan, room(64, 0.1))
    assert "-o on a disk" in caught.value.hint and "--input.max-frames" in caught.value.hint


def test_the_solve_of_a_long_video_looks_at_fewer_pixels_never_at_too_few() -> None:
    plan = wanted(1000)
    assert plan_memory(plan, room(64)).pixels == 2304
    some = plan_memory(plan, room(64, machine=4))
    assert LEAST_PIXELS < some.pixels < 2304
    assert some.solve <= 0.25 * 4 * GB < some.solve * (some.pixels + 1) / some.pixels
    assert f"{some.pixels} pixels a view" in some.describe()
    assert plan_memory(plan, room(64, machine=1)).pixels == LEAST_PIXELS
    assert plan_memory(replace(plan, most_pixels=0), room(1e6)).pixels == 512 * 288
    assert plan_memory(replace(plan, most_pixels=100), room(64)).pixels == 100
    free_is_short = plan_memory(plan, room(8, machine=64))
    assert free_is_short.pixels == 2304, "what happens to be free must not change the result"


@pytest.mark.parametrize(
    ("asked", "says"), [(0, "not all 147456 as"), (9999, "not 9999 as"), (2304, ""), (100, "")]
)
def test_fewer_pixels_than_were_asked_for_are_warned_of(
    asked: int, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    there = room(64, machine=4)
    plan = plan_memory(replace(wanted(1000), most_pixels=asked), there)
    require_room(plan, there)
    assert bool(caplog.messages) == bool(says)
    if says:
        (told,) = caplog.messages
        assert told.startswith(f"the solve takes {plan.pixels} pixels a view, ") and says in told


def test_enough_room_is_no_error() -> None:
    plan = replace(wanted(30), in_files=frozenset({"predictions", "flows", "solution"}))
    require_room(plan, Room(plan.total_bytes, plan.disk_bytes, 0))
    for short in (
        Room(plan.total_bytes - 1, plan.disk_bytes, 0),
        Room(plan.total_bytes, plan.disk_bytes - 1, 0),
    ):
        with pytest.raises(NoRoomError):
            require_room(plan, short)


@pytest.mark.parametrize("options", [PairOptions(), PairOptions(graph="swinstride")])
@pytest.mark.parametrize(("memory", "disk"), [(1.5, 100), (3.0, 1.0), (6.0, 1.5)])
def test_both_ways_out_do_fit(options: PairOptions, memory: float, disk: float) -> None:
    n, there = 1000, room(memory, disk)
    plan = plan_memory(wanted(n, options), there)
    with pytest.raises(NoRoomError) as caught:
        require_room(plan, there)
    long_side, fewer = (
        int(x) for x in re.findall(r"--input\.(?:size|max-frames) (\d+)", caught.value.hint)
    )
    smaller = (long_side, math.ceil(long_side * 288 / 512))
    require_room(plan_memory(replace(wanted(n, options), size=smaller), there), there)
    require_room(plan_memory(wanted(fewer, options), there), there)


@pytest.mark.parametrize("memory", [0.1, 0.6])
def test_no_room_for_any_plan_says_so(memory: float) -> None:
    with pytest.raises(NoRoomError, match="GB are free") as caught:
        there = room(memory, machine=64)
        require_room(plan_memory(wanted(30), there), there)
    assert "more memory" in caught.value.hint


@pytest.mark.parametrize("budget", [0.1, 0.6])
def test_a_budget_that_is_too_small_for_any_plan_says_which_is_not(budget: float) -> None:
    there = room(budget, machine=budget)
    with pytest.raises(NoRoomError, match=f"{budget} GB are allowed") as caught:
        require_room(plan_memory(wanted(30), there), there)
    found = re.fullmatch(r"add --memory-budget ([\d.]+)", caught.value.hint)
    assert found is not None
    enough = room(float(found[1]), machine=float(found[1]))
    require_room(plan_memory(wanted(30), enough), enough)
    assert float(found[1]) < 3
