"""Files and folders that a list inside the data names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from align3r.datasets.files import inside
from align3r.errors import InputError
from align3r.io.files import cannot_read


def listed(root: Path, names: Sequence[str], what: str) -> tuple[Path, ...]:
    """The paths of what a list names, all of which are there.

    Args:
        root: What the names are relative to.
        names: Paths with `/` between their parts.
        what: What they are, for the words of the error: `images of apple/110_13051_23361`.

    Raises:
        InputError: One leads out of the root, or some are missing: how many, and the first.
    """
    paths = tuple(_path(root, name) for name in names)
    missing = [name for name, path in zip(names, paths, strict=True) if not path.exists()]
    if missing:
        raise InputError(
            f"{len(missing)} of the {len(names)} {what} are missing under {root}, the first is "
            f"{missing[0]}",
            hint="download or unpack that part of the data set again",
        )
    return paths


def _path(root: Path, name: str) -> Path:
    try:
        path = inside(root, name)
        path.exists()  # raises where a name is too long
    except OSError as error:
        raise cannot_read(root / name, error) from error
    return path
