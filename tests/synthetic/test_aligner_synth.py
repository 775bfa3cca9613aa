"""The aligner on noisy predictions of a generated world: accuracy, not just agreement."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from optim_problem import depth_error, make_world, path_error

from align3r.config import AlignOptions
from align3r.optim import align

GROUPS = [range(0, 5), range(5, 10), range(10, 15)]
KEYFRAMES = np.array([0, 5, 10])
EDGES = [
    *combinations((0, 5, 10), 2),
    *(pair for group in GROUPS for pair in combinations(group, 2)),
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("schedule", ["joint", "keyframes"])
def test_noisy_groups(schedule: Any, seed: int) -> None:
    """Depth errors of 4 % and turns of half a degree in every prediction average out."""
    world = make_world(15, EDGES, size=(96, 72), noise=0.04, seed=seed)
    found = align(
        world.predictions,
        n_frames=15,
        options=AlignOptions(schedule=schedule, pixels=576),
        flows=world.flows,
        keyframes=KEYFRAMES,
    )
    assert path_error(world, found.world_from_cam) < 0.06
    assert depth_error(world, found.depth) < 0.03
    assert np.abs(found.focal / world.focal - 1).max() < 0.03
    per_frame = np.median(found.depth / world.depth, axis=(1, 2))
    assert np.std(np.log(per_frame)) < 0.03


def test_confidence_tells_where_the_predictions_disagree() -> None:
    world = make_world(5, size=(64, 48), noise=0.08, seed=3)
    found = align(world.predictions, n_frames=5, options=AlignOptions(), flows=world.flows)
    scale = np.median(world.depth / found.depth)
    error = np.abs(scale * found.depth - world.depth) / world.depth
    sure = found.confidence > np.median(found.confidence)
    assert error[sure].mean() < 0.8 * error[~sure].mean()
    assert found.confidence.min() >= 1.0
