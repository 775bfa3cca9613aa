"""From the figures of sequences to the row of a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from align3r.evaluate.metrics import average_rows
from align3r.evaluate.pose_scores import two_view_scores
from align3r.evaluate.protocols import Protocol, Published
from align3r.evaluate.published import published

_NOT_AVERAGED = ("scale", "shift", "depth_scale", "focal", "frames")
"""Of each sequence alone: a mean of them says nothing."""


@dataclass(frozen=True)
class Summary:
    """An evaluation, measured."""

    protocol: Protocol
    config: Mapping[str, Any]
    entries: tuple[Mapping[str, Any], ...]
    """What the file of each sequence holds."""
    mean: Mapping[str, float]
    """Over the sequences that are measured, as the protocol weighs them."""
    missing: tuple[str, ...]
    """Sequences that the protocol is about and that are not there."""
    published: tuple[Published, ...]

    def of_state(self, state: str) -> list[Mapping[str, Any]]:
        """The entries that are `measured`, `failed` or `left out`."""
        return [entry for entry in self.entries if entry["state"] == state]

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of the protocol that any sequence has a figure for."""
        rows = [entry["row"] for entry in self.of_state("measured")]
        there = [c for c in self.protocol.columns if any(_has(row, c) for row in rows)]
        return tuple(there) or self.protocol.columns


def summarise(
    protocol: Protocol,
    entries: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    *,
    wanted: Sequence[str],
) -> Summary:
    """Average what is measured.

    Args:
        protocol: How.
        entries: Of the sequences.
        config: Of the evaluation.
        wanted: All sequences that the protocol is about.
    """
    known = {entry["sequence"] for entry in entries}
    rows = {e["sequence"]: _numbers(e["row"]) for e in entries if e["state"] == "measured"}
    return Summary(
        protocol=protocol,
        config=config,
        entries=tuple(entries),
        mean=_mean(protocol, rows) | _pooled(protocol, entries),
        missing=tuple(name for name in wanted if name not in known),
        published=published(protocol.name),
    )


def _mean(protocol: Protocol, rows: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    if not rows:
        return {}
    if not protocol.groups:
        return average_rows(list(rows.values()), weight=protocol.weight)
    groups: dict[str, list[Mapping[str, float]]] = {}
    for name, row in rows.items():
        groups.setdefault(name.partition("/")[0], []).append(row)
    means = [average_rows(group, weight=protocol.weight) for group in groups.values()]
    return average_rows(means)


def _pooled(protocol: Protocol, entries: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Between two views the pairs of all scenes are one list: areas are not means of areas."""
    if protocol.task != "two-view":
        return {}
    about = [entry["about"] for entry in entries if entry["state"] == "measured"]
    rotation, translation = (
        np.array([np.inf if e is None else e for one in about for e in one[name]])
        for name in ("rotation_deg", "translation_deg")
    )
    return two_view_scores(rotation, translation, protocol.poses) if len(about) else {}


def _numbers(row: Mapping[str, float | None]) -> dict[str, float]:
    """A row as it comes back from JSON, where null is nan."""
    return {
        name: math.nan if value is None else float(value)
        for name, value in row.items()
        if name.rpartition(".")[2] not in _NOT_AVERAGED
    }


def _has(row: Mapping[str, float | None], column: str) -> bool:
    value = row.get(column)
    return value is not None and not math.isnan(value)
