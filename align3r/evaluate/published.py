"""What papers have printed, by protocol."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any

from align3r.evaluate.protocols import Published


def published(name: str) -> tuple[Published, ...]:
    """Rows that papers have printed for a protocol; none if they are not known."""
    return tuple(
        Published(method, block["source"], dict(zip(block["columns"], values, strict=True)))
        for block in _published().get(name, ())
        for method, values in block["rows"].items()
    )


@cache
def _published() -> dict[str, Any]:
    """`second-hand` marks what a later paper, or notes about the paper, quote."""
    text = resources.files("align3r.evaluate").joinpath("published.json").read_text("utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
