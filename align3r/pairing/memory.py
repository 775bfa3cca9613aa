"""What a run will hold in memory and on the disk, and where, before it is spent."""

from __future__ import annotations

from dataclasses import dataclass, replace

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
            f"{counted(self.n_frames, 'frame')} of {width}x{height}, "
            f"{counted(self.n_pairs, 'pair')}: {self.total_gb:.1f} GB ({told})"
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
        The plan to follow. It need not fit: see `ways_out.require_room`.
    """
    share = int(SOLVE_SHARE * room.machine / max(plan.n_pairs * VIEWS * SOLVE_BYTES, 1))
    pixels = min(plan.wished_pixels, max(share, LEAST_PIXELS))
    plan = replace(plan, pixels=pixels, in_files=frozenset())
    for item in sorted(FILE_ITEMS, key=lambda item: -int(getattr(plan, item))):
        if plan.total_bytes > room.memory:
            plan = replace(plan, in_files=plan.in_files | {item})
    return plan


def counted(n: int, what: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
