"""What is trained on, as written in options: `20000@sa1b=/data/sa1b`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from align3r.datasets.table import dataset
from align3r.errors import UsageError

_PLACE = re.compile(r"(?P<dataset>[^=@:]+)=(?P<rest>.+)")
_PATTERNS = re.compile(r"(?P<root>.+):(?P<patterns>[^:/\\][^:]*)")
_STRIDES = re.compile(r"(?P<dataset>[^=]+)=(?P<least>[1-9][0-9]{0,5})-(?P<most>[1-9][0-9]{0,5})")
_MOST_SAMPLES = 10**9


@dataclass(frozen=True)
class Share:
    """Some sequences of a data set, and how often an epoch draws from them."""

    dataset: str
    """Name of its row in `datasets.table`."""
    root: Path
    """Where it is."""
    samples: int | None = None
    """Samples an epoch; None for what is held out."""
    patterns: tuple[str, ...] = ()
    """Of names of sequences, as of a shell; those after a `!` leave out. Empty: what suits."""

    def chosen(self, names: Iterable[str], otherwise: Sequence[str] = ("*",)) -> list[str]:
        """The names that the patterns choose; `otherwise` are the patterns if there are none.

        Raises:
            UsageError: They choose none.
        """
        names = list(names)
        patterns = self.patterns or otherwise
        without = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
        wanted = [pattern for pattern in patterns if not pattern.startswith("!")] or ["*"]
        found = [name for name in names if _any(name, wanted) and not _any(name, without)]
        if not found:
            few = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            raise UsageError(
                f"none of the {len(names)} sequences of {self.dataset} under {self.root} is "
                f"{','.join(patterns)}",
                hint=f"their names are {few}",
            )
        return found


def parse_share(text: str) -> Share:
    """A part of what is trained on: SAMPLES@DATASET=ROOT, or SAMPLES@DATASET=ROOT:PATTERN,...

    What follows the last colon are patterns, unless it starts with a slash, as after `C:`.

    Raises:
        UsageError: It is something else, or there is no such data set.
    """
    count, at, rest = text.partition("@")
    hint = "write SAMPLES@DATASET=ROOT, such as 20000@sa1b=/data/sa1b"
    if not (at and re.fullmatch("[0-9]{1,12}", count) and 0 < int(count) <= _MOST_SAMPLES):
        raise UsageError(f"{text!r:.80} says not how many samples of what", hint=hint)
    return _parse_place(rest, samples=int(count), hint=hint)


def parse_held_out(text: str) -> Share:
    """What is validated on: DATASET=ROOT, or DATASET=ROOT:PATTERN,...

    Raises:
        UsageError: It is something else, or there is no such data set.
    """
    return _parse_place(text, samples=None, hint="write DATASET=ROOT, such as hypersim=/data/h")


def parse_strides(texts: Iterable[str]) -> dict[str, tuple[int, int]]:
    """By data set, least and most frames from a view to the next: DATASET=LEAST-MOST each.

    Raises:
        UsageError: It is something else, or there is no such data set.
    """
    found = {}
    for text in texts:
        match = _STRIDES.fullmatch(text)
        if match is None or int(match["least"]) > int(match["most"]):
            raise UsageError(
                f"{text!r:.80} are no strides", hint="write DATASET=LEAST-MOST: tartanair=1-9"
            )
        found[dataset(match["dataset"]).name] = (int(match["least"]), int(match["most"]))
    return found


def _parse_place(text: str, *, samples: int | None, hint: str) -> Share:
    place = _PLACE.fullmatch(text)
    if place is None:
        raise UsageError(f"{text!r:.80} is no data set with its folder", hint=hint)
    parts = _PATTERNS.fullmatch(place["rest"])
    root, patterns = (parts["root"], parts["patterns"]) if parts else (place["rest"], "")
    return Share(
        dataset=dataset(place["dataset"]).name,
        root=Path(root).expanduser(),
        samples=samples,
        patterns=tuple(filter(None, patterns.split(","))),
    )


def _any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
