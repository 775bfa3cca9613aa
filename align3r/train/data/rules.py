"""How training draws from each data set: one row each, ours where no paper says anything."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class DrawRule:
    """How samples are drawn from a data set."""

    strides: tuple[int, int] = (1, 10)
    """Least and most frames from a view to the next; up to 10 as Align3R, all alike."""
    farthest: float | None = None
    """Depth beyond is unknown, in units of the data set: skies that have a depth, and hills that
    would outweigh all else in losses that divide by the mean distance."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """What the reader is called with besides."""
    trained: tuple[str, ...] = ("*",)
    """Patterns of sequences to train on, where none are given."""
    held_out: tuple[str, ...] = ("*",)
    """Patterns of sequences to validate on, where none are given."""
    made_when_read: bool = False
    """Sequences come to be when they are first read: that is done before the training."""


RULES: Mapping[str, DrawRule] = {
    # Limits of depth as Align3R has them; the unit of SceneFlow is the distance of its two cameras.
    "tartanair": DrawRule(farthest=400.0),
    "pointodyssey": DrawRule(farthest=400.0),
    "spring": DrawRule(farthest=400.0),
    "sceneflow": DrawRule(farthest=400.0),
    "vkitti2": DrawRule(farthest=600.0),
    # Frames of a path are apart already.
    "hypersim": DrawRule(strides=(1, 3)),
    "co3d": DrawRule(strides=(1, 20), settings={"set_list": "fewview_train", "split": "train"}),
    "scannet": DrawRule(strides=(5, 60)),
    "7scenes": DrawRule(strides=(5, 60)),
    "7scenes-depth": DrawRule(strides=(5, 60)),
    "re10k": DrawRule(strides=(1, 30)),
    # Seed 0 is the benchmark, which nothing is trained on unless asked for.
    "rendered": DrawRule(
        strides=(1, 5),
        settings={"seeds": range(100)},
        trained=("*/1",),
        held_out=("!*/*",),
        made_when_read=True,
    ),
}


def rule(dataset: str) -> DrawRule:
    """The row of a data set, or what holds for those that have none."""
    return RULES.get(dataset, DrawRule())
