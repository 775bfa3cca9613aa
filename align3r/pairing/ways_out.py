"""Refuse a plan that does not fit, and say what would."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

from align3r.config import AlignOptions
from align3r.errors import NoRoomError
from align3r.pairing.memory import (
    GB,
    SMALLEST_SIZE,
    SOLVE_SHARE,
    MemoryPlan,
    Room,
    counted,
    plan_memory,
)

log = logging.getLogger(__name__)


def require_room(plan: MemoryPlan, room: Room) -> None:
    """Refuse a plan that does not fit, before anything is computed.

    A plan that fits only with fewer pixels in the solve than were asked for gets a warning.

    Args:
        plan: What is needed, as `plan_memory` gave it.
        room: What there is.

    Raises:
        NoRoomError: More is needed than there is; the hint has two ways out that do fit, if any.
    """
    if _fits(plan, room):
        # The default is no wish: fewer than that is told with the plan.
        if plan.pixels < plan.wished_pixels and plan.most_pixels != AlignOptions().pixels:
            log.warning(
                "the solve takes %d pixels a view, not %s as --align.pixels asks for: more would "
                "need more than %.0f %% of %.1f GB",
                plan.pixels,
                plan.most_pixels or f"all {plan.wished_pixels}",
                100 * SOLVE_SHARE,
                room.machine / GB,
            )
        return
    width, height = plan.size
    short_of_memory = plan.total_bytes > room.memory
    needed, there, of = (plan.total_gb, room.memory / GB, "memory")
    if not short_of_memory:
        needed, there, of = (plan.disk_bytes / GB, room.disk / GB, "disk")
    free = "allowed" if short_of_memory and room.is_budget else "free"
    raise NoRoomError(
        f"{counted(plan.n_frames, 'frame')} of {width}x{height} with "
        f"{counted(plan.n_pairs, 'pair')} {'needs' if plan.n_frames == 1 else 'need'} "
        f"{needed:.1f} GB of {of}, {there:.1f} GB are {free}",
        hint=_ways_out(plan, room),
    )


def _fits(plan: MemoryPlan, room: Room) -> bool:
    return plan.total_bytes <= room.memory and plan.disk_bytes <= room.disk


def _ways_out(plan: MemoryPlan, room: Room) -> str:
    """Smaller images or fewer frames that fit, the largest of each."""
    ways = []
    for long_side in range(max(plan.size) // 32 * 32, SMALLEST_SIZE - 1, -32):
        if _fits(plan_memory(_smaller(plan, long_side), room), room):
            ways.append(f"--input.size {long_side}")
            break
    for stride in range(2, plan.n_frames // 2 + 1):
        fewer = _fewer(plan, stride)
        if _fits(plan_memory(fewer, room), room):
            # Unlike a stride, it also holds where the number of frames is bounded already.
            ways.append(f"--input.max-frames {fewer.n_frames}")
            break
    if plan.total_bytes <= room.memory:
        ways.append("-o on a disk with more room")
    elif room.is_budget:
        ways.append(f"--memory-budget {_least_budget(plan, room):.1f}")
    elif not ways:
        return "use a machine with more memory, or --start and --stop to take less of the video"
    else:
        ways.append("--pairs.group 5 (about half the pairs of groups of 10)")
    return "add " + ", or ".join(ways)


def _least_budget(plan: MemoryPlan, room: Room) -> float:
    """GB, in tenths, that the same video fits in. A larger budget is also used more freely."""
    tenths = math.ceil(10 * plan.total_gb)
    while True:
        memory = int(tenths * GB / 10)
        wider = replace(room, memory=memory, machine=memory)
        if plan_memory(plan, wider).total_bytes <= memory:
            return tenths / 10
        tenths += max(1, tenths // 20)


def _smaller(plan: MemoryPlan, long_side: int) -> MemoryPlan:
    """The same video in smaller images."""
    share = long_side / max(plan.size)
    size = (math.ceil(share * plan.size[0]), math.ceil(share * plan.size[1]))
    survey, encoded = math.ceil(share**2 * plan.survey), math.ceil(share**2 * plan.encoded)
    return replace(plan, size=size, survey=survey, encoded=encoded)


def _fewer(plan: MemoryPlan, stride: int) -> MemoryPlan:
    """Every n-th frame; pairs grow at least in proportion to the frames."""
    return replace(
        plan,
        n_frames=math.ceil(plan.n_frames / stride),
        n_pairs=math.ceil(plan.n_pairs / stride),
        survey=math.ceil(plan.survey / stride),
        encoded=math.ceil(plan.encoded / stride),
    )
