"""What a protocol is: which frames of which sequences count, and how they are measured."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from align3r.evaluate.metrics import DepthRules
from align3r.evaluate.metrics.relative_pose import PairConvention

Task = Literal["video", "depth", "pose", "mono", "two-view", "multi-view"]
Resize = Literal["edges", "bilinear", "cubic"]


@dataclass(frozen=True, kw_only=True)
class Pick:
    """Which frames of a sequence take part."""

    start: int = 0
    """The first of them."""
    stride: int = 1
    """Every n-th from there on."""
    most: int | None = None
    """At most so many."""
    drawn: int | None = None
    """So many, drawn at random instead: the same for a sequence of this name on every machine."""
    least: int = 2
    """Sequences with fewer frames from the first on are left out."""

    def of(self, n: int, name: str) -> np.ndarray:
        """(K,) int64 numbers of the frames, of a sequence of n frames; empty if it is left out."""
        if n < self.fewest:
            return np.empty(0, np.int64)
        if self.drawn is not None:
            seed = zlib.crc32(name.encode())
            drawn = np.random.default_rng(seed).choice(n, min(self.drawn, n), replace=False)
            return np.asarray(drawn, np.int64)
        return np.arange(self.start, n, self.stride, dtype=np.int64)[: self.most]

    @property
    def fewest(self) -> int:
        """Frames that a sequence has to have."""
        return self.start + self.least

    def in_words(self) -> str:
        """For the report: what was picked."""
        if self.drawn is not None:
            return f"{self.drawn} frames drawn at random"
        first = f"from frame {self.start} on" if self.start else ""
        every = f"one frame in {self.stride}" if self.stride > 1 else ""
        most = f"at most {self.most} frames" if self.most is not None else ""
        return ", ".join(filter(None, (first, every, most))) or "all frames"


@dataclass(frozen=True, kw_only=True)
class PoseRules:
    """How relative poses of pairs of views are measured."""

    convention: PairConvention = "between_cameras"
    """Of the relative pose."""
    rule: str = "degrees"
    """Of the area under the recall curve: one of `relative_pose.AREAS`."""
    thresholds: tuple[int, ...] = (5, 15, 30)
    """Degrees of RRA and RTA."""
    areas: tuple[int, ...] = (30,)
    """Degrees of AUC."""
    threshold_px: float = 0.5
    """Of RANSAC between two views."""
    repeats: int = 1
    """RANSAC runs between two views; all of their errors count."""
    most_matches: int | None = None
    """At most so many matches, drawn at random."""
    failure_deg: float = np.inf
    """Error of a pair of images for which no pose is found."""


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How one table of one paper is made."""

    paper: str
    """Whose protocol: align3r, monst3r, cut3r, fin3r, vggt, ...; `ours` for our own."""
    task: Task
    dataset: str
    """What people call it."""
    reads: str = ""
    """The row of `datasets.table.DATASETS` that reads it, where that has another name."""
    reader: Mapping[str, Any] = field(default_factory=dict)
    """Settings of its reader."""
    sequences: str | None = None
    """One of the data set's lists; None: every sequence that is there."""
    among: str = "*"
    """Pattern of the names of the sequences."""
    without: tuple[str, ...] = ()
    """Patterns of names that it leaves out."""
    every: int = 1
    """Every n-th of the sequences, sorted."""
    pick: Pick = field(default_factory=Pick)
    all_posed: bool = False
    """A sequence is left out if the pose of any of these frames is not known."""
    depth: Mapping[str, DepthRules] = field(default_factory=dict)
    """Rules by name; where there are several, metrics are called `name.metric`."""
    resize: Resize = "edges"
    """How predicted depth gets the size of the true one; `edges` mixes no surfaces."""
    poses: PoseRules = field(default_factory=PoseRules)
    size: tuple[int, int] | None = None
    """(width, height) of the view that single images are brought to."""
    sharp: bool = False
    """True depth is exact at edges, so boundaries are measured."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options that the protocol prescribes, by their names: `pairs.graph`."""
    weight: str | None = None
    """What weighs the sequences in the mean, for example `pixels`; None: they are equal."""
    groups: bool = False
    """Mean of each category (the first part of a sequence's name) first, then of the categories."""
    columns: tuple[str, ...] = ()
    """The figures of the table, in this order; the files have all."""
    note: str = ""
    """What a reader of the table has to know, in a sentence or two."""

    @property
    def things(self) -> str:
        """What is measured, in the plural."""
        return {"mono": "images", "two-view": "scenes"}.get(self.task, "sequences")

    @property
    def thing(self) -> str:
        """One of them."""
        return self.things.removesuffix("s")

    @property
    def mean_in_words(self) -> str:
        """For the report: what counts how much."""
        if self.weight is not None:
            return f"weighted by {self.weight}"
        if self.task == "two-view":
            return "all pairs are one list"
        return f"every {'category' if self.groups else self.thing} counts alike"

    @property
    def of_videos(self) -> bool:
        """Whether frames are picked."""
        return self.things == "sequences"

    @property
    def name(self) -> str:
        """`paper/task/dataset`."""
        return f"{self.paper}/{self.task}/{self.dataset}"


@dataclass(frozen=True)
class Published:
    """A row of a paper."""

    method: str
    """As the paper calls it."""
    source: str
    """Where the row is printed."""
    values: Mapping[str, float]
    """By the names of our columns."""
