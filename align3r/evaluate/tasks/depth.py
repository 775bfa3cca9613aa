"""Video depth: the whole sequence with one gauge, against every true depth there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from align3r.config import Options
from align3r.datasets.sequence import Sequence
from align3r.datasets.truth import Truth
from align3r.errors import InputError
from align3r.evaluate.metrics import (
    DepthRules,
    TemporalConsistency,
    resize_depth,
    sequence_depth_errors,
)
from align3r.evaluate.pictures import depth_strip
from align3r.evaluate.protocols import Protocol, Resize
from align3r.evaluate.tasks.reconstructing import reconstruct_sequence
from align3r.evaluate.tasks.values import Measured
from align3r.io.maps import ArrayMaps
from align3r.progress import Report
from align3r.reconstruction import Reconstruction


@dataclass(frozen=True)
class DepthPairs:
    """True and predicted depth of every frame, read anew each time it is iterated."""

    scene: Reconstruction
    truth: Truth
    resize: Resize = "edges"

    def __iter__(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        return (self.frame(i) for i in range(len(self.scene)))

    def frame(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Both (H, W), at the pixels that have a true depth."""
        assert self.truth.depth is not None
        gt = self.truth.depth(i)
        every = (slice(None, None, self.truth.depth_stride),) * 2
        if self.resize == "edges":
            return gt, self.scene.depth(i)[every]
        width, height = self.truth.size
        maps = self.scene.maps
        assert isinstance(maps, ArrayMaps), "a reconstruction in memory"
        return gt, resize_depth(maps.working_depth(i), (height, width), self.resize)[every]


def measure(sequence: Sequence, protocol: Protocol, options: Options, report: Report) -> Measured:
    """Reconstruct, align and measure.

    Raises:
        InputError: The sequence has no depth.
        Align3rError: What `reconstruct` raises.
    """
    if sequence.truth.depth is None:
        raise InputError(f"{sequence.name} has no true depth", hint="choose another task")
    scene = reconstruct_sequence(sequence, options, report)
    pairs = DepthPairs(scene, sequence.truth, protocol.resize)
    row: dict[str, float] = {}
    gauges = {}
    for name, rules in protocol.depth.items():
        found = sequence_depth_errors(pairs, rules)
        prefix = f"{name}." if len(protocol.depth) > 1 else ""
        pooled = found.pooled()
        # The rules of a protocol differ in the alignment alone: the same pixels count for all.
        row["pixels"] = float(pooled.pop("pixels"))
        row |= {f"{prefix}{metric}": value for metric, value in pooled.items()}
        gauges[name] = found.gauges
    row |= consistency(pairs)
    about = {
        "gauges": {name: [tuple(g) for g in found] for name, found in gauges.items()},
        "info": scene.info,
    }
    first = next(iter(protocol.depth))
    counted = partial(_counted, pairs, protocol.depth[first])
    strip = depth_strip(sequence, counted, gauges[first])
    return Measured(row, sequence.frames, about, {"depth": strip})


def _counted(pairs: DepthPairs, rules: DepthRules, i: int) -> tuple[np.ndarray, np.ndarray]:
    """Both depths of a frame, the true one unknown where it does not count."""
    gt, pred = pairs.frame(i)
    return rules.counted(gt), pred


def consistency(pairs: DepthPairs) -> dict[str, float]:
    """How depth changes along the true flow; empty without it."""
    truth = pairs.truth
    if truth.flow is None or truth.depth_stride > 1:
        return {}
    changes, flow = TemporalConsistency(), None
    for i, (gt, pred) in enumerate(pairs):
        changes.add(pred, gt=gt, flow=flow)
        flow = truth.flow(i) if i + 1 < len(truth) else None
    return changes.errors()
