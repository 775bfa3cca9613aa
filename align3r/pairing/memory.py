"""Plan memory and disk before they are spent."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, replace

from align3r.config import AlignOptions
from align3r.errors import NoRoomError

log = logging.getLogger(__name__)

GB = 1e9
VIEWS = 2
POINTS_BYTES = 3 * 2
CONFIDENCE_BYTES = 2
FLOW_BYTES = 2 * 2
MASK_BYTES = 1
FRAME_BYTES = 3
MONO_BYTES = 4 + 3 * 4
# Depth and confidence, of the first solve and of the one with the masks found again.
MAPS_BYTES = 2 * (4 + 4)
# Masks, and a few float32 planes a frame while they are made.
WORKING_BYTES = MASK_BYTES + 4 * 4
# Key points of a frame, while flows are computed: positions in float32, descriptors of 128 bytes.
FEATURES_BYTES = 2000 * (2 * 4 + 128)
# A sampled pixel of one view of one pair in the solve: point, weight, two flows, and copies.
SOLVE_BYTES = 120
# Python with torch and OpenCV loaded, before the first frame.
LIBRARIES_BYTES = 600_000_000
# A frame of a ViT-Large pair network in both roles, in float32: tokens, keys and values, injections
# and the finest level of both heads. Less in half precision.
ENCODED_BYTES = 300
SMALLEST_SIZE = 128
LEAST_PIXELS = 300
"""Pixels a view that a solve can do with."""
SOLVE_SHARE = 0.25
"""Of the memory, at most so much is for the solve, as long as it has `LEAST_PIXELS`."""
FILE_ITEMS = ("predictions", "flows", "survey", "solution", "encoded")
"""What can be kept in files."""
NAMED_ITEMS = ("network", "scene", "encoded", "predictions", "flows", "survey", "solve")
"""What is told one by one."""
STAGED_ITEMS = ("predictions", "flows")
"""What a run with an output keeps in files anyway, for an interrupted one to go on from."""


@dataclass(frozen=True)
class Room:
    """What there is, in bytes."""

    memory: int
    """Main memory that may be used."""
    disk: int
    """Space on the disk of the output, or of temporary files where there is no output."""
    machine: int
    """Main memory of the whole machine, or the budget: unlike what is free, it does not change from
    run to run, nor does what is decided by it."""

    @property
    def is_budget(self) -> bool:
        """Whether a budget, not what is free, says how much may be used."""
        return self.memory == self.machine


@dataclass(frozen=True)
class MemoryPlan:
    """What a reconstruction will hold at its peak, in bytes by item, and where."""

    n_frames: int
    """Frames that take part."""
    n_pairs: int
    """Pairs that are looked at."""
    size: tuple[int, int]
    """(width, height) of the working images."""
    most_pixels: int = 0
    """Pixels a view that are to take part in the solve; 0: all."""
    pixels: int = 0
    """Pixels a view that do take part: fewer where the memory is short."""
    network: int = 0
    """Weights of a learned model."""
    pass_bytes: tuple[int, int] = (0, 0)
    """What a network that sees all frames at once works with: bytes a pixel of every frame, and
    bytes a pixel of one frame, whatever their number."""
    encoded: int = 0
    """Frames it has encoded and keeps for other pairs."""
    survey: int = 0
    """What the predictor has seen of the whole video, besides the pairs."""
    looks_at_mono: bool = False
    """Whether there is monocular depth."""
    in_files: frozenset[str] = frozenset()
    """Items that do not fit the main memory."""
    staged: bool = False
    """Whether predictions and flows are in files anyway, for an interrupted run to go on from."""

    @property
    def wished_pixels(self) -> int:
        """Pixels a view in the solve if there were memory enough."""
        return min(self.most_pixels or self._area, self._area)

    @property
    def frames(self) -> int:
        """RGB images."""
        return self._planes * FRAME_BYTES

    @property
    def scene(self) -> int:
        """What a network that sees all frames at once works with."""
        every, once = self.pass_bytes
        return self._planes * every + self._area * once

    @property
    def predictions(self) -> int:
        """Points and confidence of both views of every pair, float16."""
        return self.n_pairs * self._area * VIEWS * (POINTS_BYTES + CONFIDENCE_BYTES)

    @property
    def flows(self) -> int:
        """Flow and validity of every pair in both directions, float16 and bool."""
        return self.n_pairs * self._area * VIEWS * (FLOW_BYTES + MASK_BYTES)

    @property
    def solution(self) -> int:
        """Depth and confidence of every frame, float32."""
        return self._planes * MAPS_BYTES

    @property
    def mono(self) -> int:
        """Monocular depth and point maps of every frame, float32."""
        return self._planes * MONO_BYTES if self.looks_at_mono else 0

    @property
    def solve(self) -> int:
        """The pixels that take part in the solve."""
        return self.n_pairs * VIEWS * self.pixels * SOLVE_BYTES

    @property
    def working(self) -> int:
        """What is needed beside that, and the libraries themselves."""
        return self._planes * WORKING_BYTES + self.n_frames * FEATURES_BYTES + LIBRARIES_BYTES

    @property
    def total_bytes(self) -> int:
        """Main memory."""
        mapped = sum(getattr(self, item) for item in FILE_ITEMS if item not in self.in_files)
        rest = self.frames + self.mono + self.solve + self.working + self.network + self.scene
        return int(mapped + rest)

    @property
    def disk_bytes(self) -> int:
        """Space on the disk, until the run is done."""
        items = self.in_files.union(STAGED_ITEMS if self.staged else ())
        return int(sum(getattr(self, item) for item in items))

    @property
    def total_gb(self) -> float:
        """Main memory in GB (10^9 bytes)."""
        return self.total_bytes / GB

    def describe(self) -> str:
        """One line for people."""
        width, height = self.size
        parts = {item: getattr(self, item) for item in NAMED_ITEMS if item not in self.in_files}
        parts["rest"] = self.total_bytes - sum(parts.values())
        told = ", ".join(f"{name} {size / GB:.1f}" for name, size in parts.items() if size > 0)
        line = (
            f"{_count(self.n_frames, 'frame')} of {width}x{height}, "
            f"{_count(self.n_pairs, 'pair')}: {self.total_gb:.1f} GB ({told})"
        )
        if self.in_files:
            line += f", on disk {self.disk_bytes / GB:.1f} GB ({', '.join(sorted(self.in_files))})"
        if self.pixels < self.wished_pixels:
            line += f", {self.pixels} pixels a view in the solve"
        return line

    @property
    def _area(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def _planes(self) -> int:
        return self.n_frames * self._area


def encoded_bytes(size: tuple[int, int]) -> int:
    """What a learned model keeps of one frame of (width, height), at the most."""
    return size[0] * size[1] * ENCODED_BYTES


def plan_memory(plan: MemoryPlan, room: Room) -> MemoryPlan:
    """Where everything is to be: the largest items go to files until the rest fits the memory.

    Args:
        plan: What there will be.
        room: What there is.

    Returns:
        The plan to follow. It need not fit: see `require_room`.
    """
    share = int(SOLVE_SHARE * room.machine / max(plan.n_pairs * VIEWS * SOLVE_BYTES, 1))
    pixels = min(plan.wished_pixels, max(share, LEAST_PIXELS))
    plan = replace(plan, pixels=pixels, in_files=frozenset())
    for item in sorted(FILE_ITEMS, key=lambda item: -int(getattr(plan, item))):
        if plan.total_bytes > room.memory:
            plan = replace(plan, in_files=plan.in_files | {item})
    return plan


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
        f"{_count(plan.n_frames, 'frame')} of {width}x{height} with "
        f"{_count(plan.n_pairs, 'pair')} {'needs' if plan.n_frames == 1 else 'need'} "
        f"{needed:.1f} GB of {of}, {there:.1f} GB are {free}",
        hint=_ways_out(plan, room),
    )


def _fits(plan: MemoryPlan, room: Room) -> bool:
    return plan.total_bytes <= room.memory and plan.disk_bytes <= room.disk


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


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
