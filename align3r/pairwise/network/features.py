"""Entered frames, kept as long as pairs need them, within a bound of memory."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType

import torch
from torch import Tensor

from align3r.io.storage import scratch_place
from align3r.io.whole import disk_errors_in_words
from align3r.models.pair_network import EnteredFrame
from align3r.pairwise.network.schedule import Schedule

Entered = dict[int, EnteredFrame]
"""A frame in each of its roles."""


class FeatureCache:
    """Entered frames by number: in memory up to a bound, beyond it on disk.

    The schedule is known, so the frame that gives way is the one needed last (Belady, 1966), and
    a frame that no pair needs any more is forgotten.
    """

    def __init__(self, schedule: Schedule, bound_bytes: int) -> None:
        """Keep at most `bound_bytes` in memory, besides the frames of the batch at hand."""
        self._schedule = schedule
        self._bound = bound_bytes
        self._kept: dict[int, Entered] = {}
        self._spilled: dict[int, Path] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self.spills = 0
        """Frames written to disk so far."""

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._folder is not None:
            self._folder.cleanup()

    def __contains__(self, frame: int) -> bool:
        return frame in self._kept or frame in self._spilled

    @property
    def bytes_in_memory(self) -> int:
        """Size of what is in memory."""
        return sum(_size(entered) for entered in self._kept.values())

    def put(self, frame: int, entered: Entered) -> None:
        """Keep a frame."""
        self._kept[frame] = entered

    def get(self, frame: int, device: torch.device) -> Entered:
        """A frame that was kept, back from disk if need be."""
        path = self._spilled.pop(frame, None)
        if path is not None:
            stored = torch.load(path, map_location=device, weights_only=True)
            self._kept[frame] = {role: EnteredFrame(*values) for role, values in stored.items()}
            path.unlink()
        return self._kept[frame]

    def release(self, done: int) -> None:
        """After batch `done`: forget frames without further use, spill the ones due last.

        Raises:
            InputError: There is no space left on the disk for what does not fit the memory.
        """
        for frame in list(self._kept):
            if self._schedule.next_use(frame, done) is None:
                del self._kept[frame]
        while len(self._kept) > 1 and self.bytes_in_memory > self._bound:
            self._spill(max(self._kept, key=lambda frame: self._due(frame, done)))

    def _due(self, frame: int, done: int) -> int:
        due = self._schedule.next_use(frame, done)
        assert due is not None
        return due

    def _spill(self, frame: int) -> None:
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(
                prefix="align3r-frames-", dir=scratch_place()
            )
        path = Path(self._folder.name) / f"{frame:06d}.pt"
        # Plain tuples, so that nothing but tensors and numbers is read back.
        plain = {role: _values(entered) for role, entered in self._kept.pop(frame).items()}
        with disk_errors_in_words(path):
            torch.save(plain, path)
        self._spilled[frame] = path
        self.spills += 1


def _values(entered: EnteredFrame) -> tuple[object, ...]:
    return tuple(getattr(entered, field.name) for field in fields(entered))


def _size(entered: Entered) -> int:
    """Bytes of a frame; what its roles share is counted once."""
    tensors = {id(t): t for one in entered.values() for t in _tensors(one)}
    return sum(t.numel() * t.element_size() for t in tensors.values())


def _tensors(entered: EnteredFrame) -> list[Tensor]:
    finest = [] if entered.finest is None else [entered.finest]
    return [entered.tokens, *entered.offered, *finest, *entered.injections]


def join(frames: Sequence[EnteredFrame]) -> EnteredFrame:
    """One batch of several entered frames of one size."""
    first = frames[0]
    if len(frames) == 1:
        return first
    keys, values = zip(*(frame.offered for frame in frames), strict=True)
    finest = None
    if first.finest is not None:
        finest = torch.cat([frame.finest for frame in frames if frame.finest is not None])
    levels = zip(*(frame.injections for frame in frames), strict=True)
    return EnteredFrame(
        tokens=torch.cat([frame.tokens for frame in frames]),
        offered=(torch.cat(keys), torch.cat(values)),
        finest=finest,
        injections=tuple(torch.cat(level) for level in levels),
        grid=first.grid,
    )


def part(entered: EnteredFrame, k: int) -> EnteredFrame:
    """Frame k of a batch, without holding on to the others."""

    def own(t: Tensor) -> Tensor:
        return t[k : k + 1] if len(t) == 1 else t[k : k + 1].clone()

    keys, values = entered.offered
    return EnteredFrame(
        tokens=own(entered.tokens),
        offered=(own(keys), own(values)),
        finest=None if entered.finest is None else own(entered.finest),
        injections=tuple(own(level) for level in entered.injections),
        grid=entered.grid,
    )
