"""The page that shows results: one HTML text with its program and style inside."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from align3r.view.look import first_view
from align3r.view.parts import Parts

SCRIPTS = (
    "maths.js",
    "painter.js",
    "result.js",
    "eye.js",
    "stage.js",
    "pictures.js",
    "main.js",
)
SECURITY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'"
)
"""What the page may do: its own inline program, its own server, and nothing else anywhere."""


def page(results: Sequence[Parts], *, embedded: Mapping[str, str] | None = None) -> str:
    """The whole page.

    Args:
        results: One or two; the first gives the timeline and the first view.
        embedded: Elements that hold the parts, by id, already encoded; without them the page asks
            the server that it came from.

    Returns:
        HTML that loads nothing from elsewhere.
    """
    first = results[0]
    manifest: dict[str, Any] = {
        "results": [result.about() for result in results],
        "view": first_view(first.scene, first.look),
        "embedded": embedded is not None,
    }
    room = resources.files("align3r.view") / "page"
    pieces = {
        "TITLE": html.escape(" · ".join(result.name for result in results)),
        "SECURITY": SECURITY,
        "STYLE": (room / "style.css").read_text(encoding="utf-8"),
        "MANIFEST": inline_json(manifest),
        "PARTS": "\n".join((embedded or {}).values()),
        "SCRIPT": "\n".join((room / name).read_text(encoding="utf-8") for name in SCRIPTS),
    }
    text = (room / "index.html").read_text(encoding="utf-8")
    # In one go, so that nothing inside a piece is taken for a place of another.
    parts: list[str] = []
    for chunk in text.split("$"):
        name = next((key for key in pieces if parts and chunk.startswith(key)), None)
        parts.append(pieces[name] + chunk[len(name) :] if name else chunk)
    return "".join(parts)


def inline_json(value: Any) -> str:
    """JSON that can stand inside a script element: no name of a file can end it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
