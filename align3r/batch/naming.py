"""Names of result folders: the video's own, and as much of its path as tells it from others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from pathlib import Path

RESERVED = ("logs", "batch.json")
_LEVELS = 8
"""Folders above a video that may become a part of its name."""


def result_names(sources: Sequence[Path], taken: Mapping[Path, str]) -> dict[Path, str]:
    """A name for every source that no other has, on disks that ignore case neither.

    Args:
        sources: Absolute paths, each once.
        taken: Names that were given before; they stay, or a second call would do all again.

    Returns:
        `a/clip.mp4` alone is `clip`; beside `b/clip.mp4` they are `a_clip` and `b_clip`.
    """
    names = {source: taken[source] for source in sources if source in taken}
    used = {name.casefold() for name in (*taken.values(), *RESERVED)}
    fresh = [source for source in sources if source not in names]
    wanted = Counter(
        name.casefold() for source in fresh for name in islice(_candidates(source), _LEVELS + 1)
    )
    for source in fresh:
        few = list(islice(_candidates(source), _LEVELS + 1))
        alone = (name for name in few if wanted[name.casefold()] == 1)
        numbered = (f"{few[0]}-{k}" for k in count(2))
        for name in (*alone, *few[-1:], *islice(numbered, len(used) + len(fresh) + 1)):
            if name.casefold() not in used:
                names[source] = name
                used.add(name.casefold())
                break
    return names


def _candidates(source: Path) -> Iterator[str]:
    """`clip`, `a_clip`, `videos_a_clip` and so on; at last with the suffix."""
    parts = [_plain(part) for part in source.parent.parts[1:]]
    stem = _plain(source.name if source.is_dir() else source.stem)
    for depth in range(min(_LEVELS, len(parts) + 1)):
        yield "_".join([*parts[len(parts) - depth :], stem])
    yield _plain(source.name).replace(".", "_")


def _plain(part: str) -> str:
    """A part of a path as a part of a name: not hidden, no folder of its own."""
    return part.strip(". ").replace("/", "_").replace("\\", "_") or "video"
