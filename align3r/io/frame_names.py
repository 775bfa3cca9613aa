"""Which entry of a list with names, as the images of a COLMAP model, belongs to which frame."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import numpy as np

from align3r.errors import InputError, UsageError

MatchedBy = Literal["name", "number", "time"]


@dataclass(frozen=True)
class FrameId:
    """What tells a frame of the source from the others."""

    number: int
    """In the source, from 0."""
    time: float
    """Seconds."""
    name: str | None = None
    """Of the image file, with its folder; None in a video."""


class FrameNames:
    """Names that other programs gave to the frames, and the frames that they mean.

    Frames of a folder of images are found by the names of their files: the longest end of the path
    that is enough, else the name without its ending. Frames of a video have no names: names that
    are numbers with a decimal point, as 0.533333.png, are times in seconds; else the last whole
    number in a name counts the frames, from 0 if there is a 0, else from 1 if there is a 1.
    """

    def __init__(
        self, names: Sequence[str], *, origin: str, is_video: bool, first_number: int | None = None
    ) -> None:
        """Sort the names by what they mean.

        Args:
            names: Different from one another.
            origin: Where they are from, for people.
            is_video: Whether the frames have no names of their own.
            first_number: Number in the name of the first frame of the source.

        Raises:
            InputError: Names of a video's frames hold no numbers.
            UsageError: It cannot be told whether the numbers count from 0 or from 1.
        """
        self._names = list(names)
        self._by: dict[str, str] = {}
        self._numbers: dict[int, str] = {}
        self._times: dict[float, str] = {}
        self._first, self._clock = 0, np.zeros(0)
        self.by: MatchedBy = "name"
        if not is_video:
            self._by = _unique([(key, name) for name in self._names for key in _keys(name)])
            return
        self._times = _times(self._names)
        if len(self._times) == len(self._names):
            self.by, self._clock = "time", np.array(sorted(self._times))
            return
        self.by, self._times = "number", {}
        self._numbers = _numbers(self._names, origin)
        self._first = _first(self._numbers, origin) if first_number is None else first_number

    def find(self, frame: FrameId) -> str | None:
        """The name that means this frame; None where there is none."""
        if self.by == "number":
            return self._numbers.get(frame.number + self._first)
        if self.by == "time":
            nearest = self._clock[int(np.abs(self._clock - frame.time).argmin())]
            # Names are rounded; no two frames of a video are a millisecond apart.
            return self._times[nearest] if abs(nearest - frame.time) <= 1e-3 else None
        for key in _keys(frame.name or ""):
            if key in self._by:
                return self._by[key]
        return None


def _keys(name: str) -> list[str]:
    """All ends of the path, the longest first, then the name without its ending."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    ends = ["/".join(parts[k:]) for k in range(len(parts))]
    return [*ends, f"{PurePosixPath(parts[-1]).stem}."] if parts else []


def _unique(entries: list[tuple[str, str]]) -> dict[str, str]:
    """What each key means, without the keys that mean several things."""
    meanings: dict[str, set[str]] = {}
    for key, name in entries:
        meanings.setdefault(key, set()).add(name)
    return {key: next(iter(names)) for key, names in meanings.items() if len(names) == 1}


def _times(names: Sequence[str]) -> dict[float, str]:
    stems = {name: PurePosixPath(name).stem for name in names}
    timed = {name: stem for name, stem in stems.items() if re.fullmatch(r"\d+\.\d+", stem)}
    return {float(stem): name for name, stem in timed.items()}


def _numbers(names: Sequence[str], origin: str) -> dict[int, str]:
    found: dict[int, str] = {}
    for name in names:
        digits = re.findall(r"\d{1,15}", PurePosixPath(name).stem)
        number = int(digits[-1]) if digits else None
        if number is None or number in found:
            why = "no number" if number is None else f"the number of {found[number]}"
            raise InputError(
                f"images of {origin} cannot be matched to the frames of a video: {name} has {why}",
                hint="name them after the numbers of the frames, as 000012.png, or after their "
                "times, as 0.4000.png; or give the folder of images instead of the video",
            )
        found[number] = name
    return found


def _first(numbers: dict[int, str], origin: str) -> int:
    for first in (0, 1):
        if first in numbers:
            return first
    raise UsageError(
        f"the images of {origin} are numbered from {min(numbers)}, so their numbers may count the "
        "frames of the video from 0 or from 1",
        hint="add --camera.first-number 0, or 1: the number of the video's first frame",
    )
