"""Where data that can be made again is kept for the user."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache(name: str) -> Path:
    """A folder in the user's cache; `XDG_CACHE_HOME` moves it."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(base) if base else Path.home() / ".cache") / "align3r" / name
