"""The aligner alone, on generated pair predictions: `python benchmarks/aligner.py`.

The predictions, flow and motion masks come from the generator (`--generator`, see its own text for
the noise model), so nothing but the aligner is measured. Distances are after one similarity,
Abs Rel after one scale for the sequence; `jitter` is the standard deviation of the scale of
single frames, `ratio` the scale of the path over the scale of the depth (1: they agree).
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from generated import load_generator
from measure import write_json

from align3r.config import AlignOptions
from align3r.optim import align
from align3r.types import PairFlows, PairPredictions

COLUMNS = {
    "seconds": ("s", 1, 1),
    "peak_mb": ("peak MB", 1, 0),
    "ate_m": ("ATE mm", 1000, 1),
    "rpe_r_deg": ("RPE deg", 1, 3),
    "focal_err_%": ("focal err %", 1, 2),
    "absrel": ("Abs Rel", 1, 4),
    "absrel_dyn": ("Abs Rel moving", 1, 4),
    "d125": ("d<1.25", 1, 4),
    "scale_jitter_%": ("jitter %", 1, 2),
    "pose_depth_scale": ("ratio", 1, 3),
}


class Resident:
    """Largest resident memory seen while a block runs, above what was there before it."""

    def __init__(self) -> None:
        self.peak_mb = 0.0

    @contextmanager
    def watch(self) -> Iterator[None]:
        gc.collect()
        # What the generator freed must leave the process, or the aligner gets it for nothing.
        getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)(0)
        before, stop = self._now(), threading.Event()

        def look() -> None:
            while not stop.wait(0.01):
                self.peak_mb = max(self.peak_mb, self._now() - before)

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    @staticmethod
    def _now() -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def graph_of(problem: Any, name: str) -> tuple[list[tuple[int, int]], np.ndarray | None]:
    """Pairs of a named graph and its keyframes, if it has any."""
    n = problem.n
    if name == "groups":
        keys, groups = problem.groups(n)
        inside = [pair for group in groups for pair in problem.complete(group)]
        return problem.complete(keys) + inside, np.array(keys)
    if name == "swinstride":
        return problem.window(n, 5, 2, False), None
    return problem.complete(range(n)), None


def inputs_of(problem: Any, edges: list[tuple[int, int]]) -> tuple[PairPredictions, PairFlows]:
    """What a predictor and a flow network would say; half precision, as the real ones."""
    pairs = [problem.pair(i, j) for i, j in edges]
    numbers = np.array(edges, np.int64)
    there = np.stack([problem.flow(i, j)[0] for i, j in edges]).astype(np.float16)
    back = np.stack([problem.flow(j, i)[0] for i, j in edges]).astype(np.float16)
    everywhere = np.ones(there.shape[:3], bool)
    predictions = PairPredictions(
        edges=numbers,
        points=torch.from_numpy(np.stack([np.stack(pair[:2]) for pair in pairs])).half(),
        confidence=torch.from_numpy(np.stack([np.stack(pair[2:4]) for pair in pairs])).half(),
        principal_point=(float(problem.pp[0]), float(problem.pp[1])),
    )
    return predictions, PairFlows(numbers, there, back, everywhere, everywhere)


def measure(problem: Any, graph: str, options: AlignOptions) -> dict[str, Any]:
    """Align one problem and score it against its truth."""
    edges, keyframes = graph_of(problem, graph)
    predictions, flows = inputs_of(problem, edges)
    resident, start = Resident(), time.perf_counter()
    with resident.watch():
        found = align(
            predictions,
            n_frames=problem.n,
            options=options,
            flows=flows,
            static=~problem.dynamic,
            prior=problem.mono,
            keyframes=keyframes,
        )
    seconds = time.perf_counter() - start
    scores = problem.evaluate(found.world_from_cam, found.focal, found.depth)
    cost = {"pairs": len(edges), "seconds": seconds, "peak_mb": resident.peak_mb}
    return cost | scores | {"losses": found.losses}


def cases(pixels: int) -> list[tuple[str, int, str, AlignOptions]]:
    """Name, frames, graph and options of each run."""
    plain = AlignOptions(pixels=pixels)
    newton = replace(plain, solver="gauss-newton")
    return [
        ("10 frames", 10, "complete", plain),
        ("10 frames, Gauss-Newton", 10, "complete", newton),
        ("30 frames, groups, joint", 30, "groups", replace(plain, schedule="joint")),
        ("30 frames, groups, Gauss-Newton", 30, "groups", replace(newton, schedule="joint")),
        ("30 frames, keyframes first", 30, "groups", replace(plain, schedule="keyframes")),
        ("30 frames, scale map", 30, "groups", replace(plain, geometry="scale")),
        ("30 frames, without flow", 30, "groups", replace(plain, flow_weight=0.0)),
        ("30 frames, swinstride", 30, "swinstride", plain),
    ]


def show(row: dict[str, Any]) -> None:
    cells = [f"{factor * row[key]:.{digits}f}" for key, (_, factor, digits) in COLUMNS.items()]
    print("| " + " | ".join([row["name"], str(row["seed"]), str(row["pairs"]), *cells]) + " |")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--generator", type=Path, default=Path("../shared/bench/synth_problem.py"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--size", type=int, nargs=2, default=(256, 144), metavar=("W", "H"))
    parser.add_argument("--only", default="", help="runs whose name contains this")
    parser.add_argument("--pixels", type=int, default=AlignOptions().pixels)
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks/aligner.json"))
    args = parser.parse_args()
    module = load_generator(args.generator)
    heads = ["run", "seed", "pairs", *(head for head, _, _ in COLUMNS.values())]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    rows = []
    wanted = [case for case in cases(args.pixels) if args.only in case[0]]
    for seed in args.seeds:
        problems: dict[int, Any] = {}
        for name, frames, graph, options in wanted:
            if frames not in problems:
                width, height = args.size
                problems[frames] = module.SynthProblem(frames, height, width, seed)
            row = {"name": name, "seed": seed, **measure(problems[frames], graph, options)}
            rows.append(row)
            show(row)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(rows, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
