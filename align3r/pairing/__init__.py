"""Which pairs of frames are looked at, and what looking at them costs in memory."""

from align3r.pairing.graphs import build_pairs, keyframe_groups, require_connected
from align3r.pairing.keyframes import blank_frames, choose_keyframes, keyframe_indices
from align3r.pairing.loops import find_loops
from align3r.pairing.memory import MemoryPlan, Room, plan_memory
from align3r.pairing.ways_out import require_room

__all__ = [
    "MemoryPlan",
    "Room",
    "blank_frames",
    "build_pairs",
    "choose_keyframes",
    "find_loops",
    "keyframe_groups",
    "keyframe_indices",
    "plan_memory",
    "require_connected",
    "require_room",
]
