"""Plan main memory before it is spent."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from align3r.errors import NoRoomError

GB = 1e9
VIEWS = 2
POINTS_BYTES = 3 * 2
CONFIDENCE_BYTES = 2
FLOW_BYTES = 2 * 2
MASK_BYTES = 1
FRAME_BYTES = 3
MONO_BYTES = 4 + 3 * 4
SOLUTION_BYTES = 4 + 4 + MASK_BYTES
# The solver and the fusion hold a few float32 planes a frame (depth, its gradient, two sums).
WORKING_BYTES = 4 * 4
# Python with torch and OpenCV loaded, before the first frame.
LIBRARIES_BYTES = 600_000_000
# A frame of a ViT-Large pair network in both roles, in float32: tokens, keys and values, injections
# and the finest level of both heads. Less in half precision.
ENCODED_BYTES = 300
SMALLEST_SIZE = 128


@dataclass(frozen=True)
class MemoryPlan:
    """What a reconstruction will hold in main memory at its peak, in bytes by item."""

    n_frames: int
    """Frames that take part."""
    n_pairs: int
    """Pairs that are looked at."""
    size: tuple[int, int]
    """(width, height) of the working images."""
    frames: int
    """RGB images."""
    predictions: int
    """Points and confidence of both views of every pair, float16."""
    flows: int
    """Flow and validity of every pair in both directions, float16 and bool."""
    solution: int
    """Depth, confidence and mask of every frame."""
    working: int
    """What the solver needs beside that, and the libraries themselves."""
    network: int = 0
    """Weights of a learned model, and the frames it has encoded."""
    mono: int = 0
    """Monocular depth and point maps of every frame, float32."""

    @property
    def total_bytes(self) -> int:
        """Sum of all items."""
        pixels = self.frames + self.predictions + self.flows + self.solution
        return pixels + self.working + self.network + self.mono

    @property
    def total_gb(self) -> float:
        """Sum of all items in GB (10^9 bytes)."""
        return self.total_bytes / GB

    def with_mono(self) -> MemoryPlan:
        """The plan with monocular depth in it."""
        return replace(self, mono=self.n_frames * self.size[0] * self.size[1] * MONO_BYTES)

    def describe(self) -> str:
        """One line for people."""
        width, height = self.size
        network = f"network {self.network / GB:.1f}, " if self.network else ""
        return (
            f"{_count(self.n_frames, 'frame')} of {width}x{height}, "
            f"{_count(self.n_pairs, 'pair')}: "
            f"{self.total_gb:.1f} GB (predictions {self.predictions / GB:.1f}, "
            f"flows {self.flows / GB:.1f}, {network}rest "
            f"{(self.frames + self.solution + self.working + self.mono) / GB:.1f})"
        )


def encoded_bytes(size: tuple[int, int]) -> int:
    """What a learned model keeps of one frame of (width, height), at the most."""
    return size[0] * size[1] * ENCODED_BYTES


def plan_memory(
    n_frames: int, n_pairs: int, size: tuple[int, int], *, network: int = 0
) -> MemoryPlan:
    """The memory a reconstruction needs.

    Args:
        n_frames: Frames that take part.
        n_pairs: Pairs that are looked at.
        size: (width, height) of the working images.
        network: Bytes of a learned model and of the frames it keeps.
    """
    pixels = size[0] * size[1]
    return MemoryPlan(
        n_frames=n_frames,
        n_pairs=n_pairs,
        size=size,
        frames=n_frames * pixels * FRAME_BYTES,
        predictions=n_pairs * pixels * VIEWS * (POINTS_BYTES + CONFIDENCE_BYTES),
        flows=n_pairs * pixels * VIEWS * (FLOW_BYTES + MASK_BYTES),
        solution=n_frames * pixels * SOLUTION_BYTES,
        working=n_frames * pixels * WORKING_BYTES + LIBRARIES_BYTES,
        network=network,
    )


def require_room(plan: MemoryPlan, free_bytes: int) -> None:
    """Refuse a plan that does not fit, before anything is computed.

    Args:
        plan: What is needed.
        free_bytes: What there is.

    Raises:
        NoRoomError: More is needed than there is; the hint has two ways out that do fit, if any.
    """
    if plan.total_bytes <= free_bytes:
        return
    width, height = plan.size
    raise NoRoomError(
        f"{_count(plan.n_frames, 'frame')} of {width}x{height} with "
        f"{_count(plan.n_pairs, 'pair')} {'needs' if plan.n_frames == 1 else 'need'} "
        f"{plan.total_gb:.1f} GB of memory, {free_bytes / GB:.1f} GB are free",
        hint=_ways_out(plan, free_bytes),
    )


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _ways_out(plan: MemoryPlan, free_bytes: int) -> str:
    fixed = LIBRARIES_BYTES + plan.network
    room = max(free_bytes - fixed, 0) / (plan.total_bytes - fixed)
    ways = []
    long_side = int(max(plan.size) * math.sqrt(room)) // 32 * 32
    if long_side >= SMALLEST_SIZE:
        ways.append(f"--input.size {long_side}")
    # Pairs grow at least in proportion to the frames, so dividing the frames is enough.
    if room * plan.n_frames >= 2:
        ways.append(f"--input.stride {math.ceil(1 / room)}")
    if not ways:
        return "use --pairs.graph keyframes with --pairs.group 5, or a machine with more memory"
    return "add " + ", or ".join([*ways, "--pairs.group 5 (about half the pairs of groups of 10)"])
