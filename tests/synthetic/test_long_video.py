"""Long videos in one problem: flat memory with arrays in files, and what loop pairs are for."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from align3r.config import AlignOptions, PairOptions
from align3r.flow.pairs import empty_flows
from align3r.io.storage import Storage, scratch_files
from align3r.meanwhile import now_and_then
from align3r.optim import align
from align3r.pairing import build_pairs
from align3r.pairwise.predictor import empty_predictions
from align3r.types import PairFlows, PairPredictions

DEPTH = 4.0
OPTIONS = AlignOptions(solver="gauss-newton", schedule="joint", pixels=300)


def wall_before(
    places: np.ndarray,
    edges: np.ndarray,
    *,
    size: tuple[int, int],
    storage: Storage | None = None,
    noise: float = 0.0,
) -> tuple[PairPredictions, PairFlows]:
    """What is predicted of a wall, seen by cameras at (N, 2) places in a plane before it.

    All look straight ahead: every depth is 4, every flow the same at all pixels. `noise` is the
    error of the pose within a pair, radians and quarters of the depth.
    """
    width, height = size
    focal, centre = 0.9 * width, ((width - 1) / 2, (height - 1) / 2)
    v, u = np.mgrid[:height, :width].astype(np.float32)
    rays = np.stack([(u - centre[0]) / focal, (v - centre[1]) / focal, np.ones_like(u)], -1)
    points, confidence = empty_predictions(len(edges), (height, width), storage)
    flows = empty_flows(edges, (height, width), storage)
    rng = np.random.default_rng(0)
    for k, (i, j) in enumerate(edges.tolist()):
        scale = np.exp(0.2 * rng.standard_normal())
        move = np.append(places[j] - places[i], 0.0)
        turn = cv2.Rodrigues(noise * rng.standard_normal(3))[0]
        second = (DEPTH * rays) @ turn.T + move + DEPTH * noise * rng.standard_normal(3) / 4
        points[k] = torch.from_numpy(scale * np.stack([DEPTH * rays, second]) / DEPTH)
        confidence[k] = 8.0
        flows.forward[k], flows.backward[k] = -move[:2] * focal / DEPTH, move[:2] * focal / DEPTH
        flows.forward_valid[k] = flows.backward_valid[k] = True
    return PairPredictions(edges, points, confidence, centre), flows


@contextmanager
def anonymous_peak() -> Iterator[list[float]]:
    """MB of memory that is no file's, above what there was: one number, filled in at the end."""

    def now() -> float:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith("RssAnon"))) / 1024

    gc.collect()
    before = now()
    seen, found = [before], list[float]()
    with now_and_then(lambda: seen.append(now()), every_s=0.005):
        yield found
    found.append(max(seen) - before)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_arrays_that_are_in_files() -> None:
    n, size = 40, (256, 192)
    places = np.stack([0.1 * np.arange(n), 0.3 * np.sin(np.arange(n) / 5)], -1)
    edges = build_pairs(n, PairOptions())
    with scratch_files() as files:
        storage = Storage(files, frozenset({"predictions", "flows", "solution"}))
        predictions, flows = wall_before(places, edges, size=size, storage=storage)
        arrays = (predictions.points.numpy(), flows.forward, flows.backward)
        inputs_mb = sum(array.nbytes for array in arrays) / 1e6
        with anonymous_peak() as peak:
            found = align(predictions, n_frames=n, options=OPTIONS, flows=flows, storage=storage)
        assert isinstance(found.depth, np.memmap)
        assert inputs_mb > 150
        # The pixels of the solve, and one view at a time of the rest.
        assert peak[0] < 0.5 * inputs_mb
        path = found.world_from_cam[:, :2, 3]
        truth = places - places[0]
        unit = np.linalg.norm(truth[-1]) / np.linalg.norm(path[-1])
        assert np.abs(unit * path - truth).max() < 0.02
        assert np.abs(unit * found.depth / DEPTH - 1).max() < 0.01


def test_loop_pairs_close_the_path_of_a_long_video() -> None:
    n, group = 60, 5
    way = 0.15 * np.concatenate([np.arange(n // 2), np.arange(n // 2)[::-1]])
    places = np.stack([way, np.abs(np.arange(n) - (n - 1) / 2) / n], -1)
    options = PairOptions(graph="swin", window=3, group=group)
    keys = np.arange(0, n // 2 - 2 * group, group)
    loops = np.stack([keys, n - 1 - keys], -1)

    def gap(loops: np.ndarray) -> float:
        """From the last camera to the first, which stood in the same place; 1: the way there."""
        edges = build_pairs(n, options, loops=loops)
        predictions, _ = wall_before(places, edges, size=(40, 30), noise=0.02)
        path = align(predictions, n_frames=n, options=OPTIONS).world_from_cam[:, :3, 3]
        return float(np.linalg.norm(path[-1] - path[0]) / np.linalg.norm(path[n // 2] - path[0]))

    open_ended, closed = gap(loops[:0]), gap(loops)
    assert closed < 0.4 * open_ended
