"""The folder of a comparison: refused where it is taken, replaced when the new one is whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from align3r.errors import UsageError
from align3r.io.places import check_not_inside, check_only_ours
from align3r.io.whole import check_output


def check_place(out: Path, *, overwrite: bool) -> None:
    """Refuse a taken place before any work is done.

    Raises:
        UsageError: `out` exists and overwriting is off, or it is no comparison.
        InputError: The place cannot be written.
    """
    if not (out.is_dir() and any(out.iterdir())):
        check_output(out, overwrite)
        return
    if not overwrite:
        raise UsageError(f"{out} exists already", hint="add --overwrite, or choose another with -o")
    if not (out / "compare.json").is_file():
        raise UsageError(
            f"{out} is not a comparison and will not be replaced", hint="choose another with -o"
        )
    check_not_inside(out)
    check_only_ours(out)


@contextmanager
def replacing(out: Path) -> Iterator[None]:
    """Put what is at `out` aside while the block runs; bring it back if the block fails."""
    old = _set_aside(out)
    if out.exists():
        shutil.rmtree(old, ignore_errors=True)
        out.rename(old)
    try:
        yield
    except BaseException:
        put_back(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def put_back(out: Path) -> bool:
    """Bring back what a killed run had put aside, if nothing has taken its place."""
    old = _set_aside(out)
    if out.exists() or not old.exists():
        return False
    old.rename(out)
    return True


def _set_aside(out: Path) -> Path:
    return out.with_name(f".{out.name}.old")
