"""What a run leaves beside its result when it is killed just after the result is whole."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from align3r.errors import UsageError
from align3r.io.cache import cache_folder
from align3r.io.lock import one_run_at_a_time


def remove_leftovers(out: Path) -> None:
    """Remove stage cache, lock and replaced result of a run that is over and made this result.

    Stages that were kept after the result was written are of a later run, and stay: it may be
    gone on with. So does everything while a run is at work.
    """
    cache, old = cache_folder(out), out.with_name(f".{out.name}.old")
    lock = out.with_name(f".{out.name}.lock")
    result = out / "scene.json"
    if not result.is_file() or not any(path.exists() for path in (cache, old, lock)):
        return
    with suppress(UsageError, OSError), one_run_at_a_time(out):
        shutil.rmtree(old, ignore_errors=True)
        kept = [file.stat().st_mtime_ns for file in cache.glob("*")]
        if all(time <= result.stat().st_mtime_ns for time in kept):
            shutil.rmtree(cache, ignore_errors=True)
