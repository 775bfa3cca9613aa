"""Which function measures which task."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

TASKS: dict[str, str] = {
    "video": "video",
    "depth": "depth",
    "pose": "pose",
    "mono": "mono",
    "two-view": "two_view",
    "multi-view": "views",
}
"""Module of `align3r.evaluate.tasks`, imported on use; its `measure` does the work."""


def measurer(task: str) -> Callable[..., Any]:
    """The function of a task: (sequence, protocol, options, report) -> `Measured`."""
    module = importlib.import_module(f"align3r.evaluate.tasks.{TASKS[task]}")
    found: Callable[..., Any] = module.measure
    return found
