"""Files and folders that a list inside the data names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from align3r.datasets.files import check_there, inside


def listed(root: Path, names: Sequence[str], what: str) -> tuple[Path, ...]:
    """The paths of what a list names, all of which are there.

    Args:
        root: What the names are relative to.
        names: Paths with `/` between their parts.
        what: What they are, for the words of the error: `images of apple/110_13051_23361`.

    Raises:
        InputError: One leads out of the root, or some are missing: how many, and the first.
    """
    paths = tuple(inside(root, name) for name in names)
    check_there(paths, root, what=what)
    return paths
