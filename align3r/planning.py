"""What a run will need, what there is, and where its large arrays go."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from align3r.config import Options
from align3r.device import free_memory_bytes, machine_memory_bytes, resolve_device
from align3r.given import Given
from align3r.io.cache import StageCache, cache_folder
from align3r.io.storage import (
    Storage,
    free_disk_bytes,
    released_now_and_then,
    scratch_files,
    scratch_place,
    taken_bytes,
)
from align3r.pairing.memory import (
    GB,
    STAGED_ITEMS,
    MemoryPlan,
    Room,
    encoded_bytes,
    plan_memory,
)
from align3r.pairwise.geometric.survey import survey_bytes
from align3r.pairwise.multiview.predictor import seen_bytes
from align3r.pairwise.needs import looks_at_depth
from align3r.pairwise.registry import MODELS, weights_bytes


def room_of(options: Options, out: Path | None, *, shared_pairs: Path | None = None) -> Room:
    """What a run may use: the budget, or what is free, and the space that it has taken already.

    Args:
        options: With the budget, if there is one.
        out: Of the result; None: only temporary files are written.
        shared_pairs: Folder of the pairs, if other runs have left, or will find, them there.
    """
    memory, machine = free_memory_bytes(), machine_memory_bytes()
    if options.memory_budget is not None:
        machine = int(options.memory_budget * GB)
        memory = min(memory, machine)
    if out is None:
        # The temporary files of others stay where they are.
        return Room(memory=memory, disk=free_disk_bytes(scratch_place()), machine=machine)
    folder = cache_folder(out)
    disk = free_disk_bytes(folder) + taken_bytes(folder)
    if shared_pairs is not None:
        disk += taken_bytes(shared_pairs)
    return Room(memory=memory, disk=disk, machine=machine)


def plan_run(given: Given, options: Options, room: Room, *, staged: bool) -> MemoryPlan:
    """What a run will hold, and where.

    Args:
        given: The input.
        options: With the model chosen.
        room: What there is.
        staged: Whether its stages are kept for another run to go on from.
    """
    frames, network, model = given.frames, weights_bytes(options), MODELS[options.model]
    encoded = survey = 0
    in_main_memory = resolve_device(options.device).type != "cuda"
    if model.sees_all:
        survey = seen_bytes(len(frames), frames.size)
    elif network:
        every = len(frames) * encoded_bytes(frames.size)
        encoded = min(int(options.network.cache_gb * GB), every)
    if model.finds_flow:
        survey = survey_bytes(given.edges, len(frames), frames.size)
    wanted = MemoryPlan(
        n_frames=len(frames),
        n_pairs=len(given.edges),
        size=frames.size,
        most_pixels=options.align.pixels,
        network=network,
        pass_bytes=model.pass_bytes if in_main_memory else (0, 0),
        encoded=encoded,
        survey=survey,
        looks_at_mono=looks_at_depth(options),
        staged=staged,
    )
    return plan_memory(wanted, room)


def as_planned(options: Options, plan: MemoryPlan) -> Options:
    """The options that make a run keep to its plan."""
    network = options.network
    if "encoded" in plan.in_files:
        network = replace(network, cache_gb=0.0)
    return replace(options, network=network, align=replace(options.align, pixels=plan.pixels))


@dataclass(frozen=True)
class Storages:
    """Where the arrays of a run are."""

    pairs: Storage
    """Predictions and flows."""
    solution: Storage


@contextmanager
def open_storages(
    plan: MemoryPlan, pairs: StageCache | None, own: StageCache | None
) -> Iterator[Storages]:
    """Storages as planned, in the files of the stage caches; without those, in temporary files.

    Args:
        plan: What is to be in files.
        pairs: The cache of the pairs.
        own: The cache of the rest.
    """
    with ExitStack() as open_files:
        if pairs is None or own is None:
            files = open_files.enter_context(scratch_files())
            found = Storages(Storage(files, plan.in_files), Storage(files, plan.in_files))
        else:
            staged = plan.in_files.union(STAGED_ITEMS)
            found = Storages(Storage(pairs.files, staged), Storage(own.files, plan.in_files))
        if plan.in_files:
            both = (found.pairs.files, found.solution.files)
            some = [files for files in both if files is not None]
            open_files.enter_context(released_now_and_then(*some))
        yield found
