"""The aligner alone, on generated pair predictions: `python benchmarks/aligner.py`.

The predictions and the flow come from the generator (`--generator`, see its own text for the noise
model), the validity of the flow and the motion masks are our own, unless `--true-masks` says
otherwise. The seconds are those of a second `align` in the same process, from half-precision
predictions to cameras, dense depth and the residual report, the memory is that of the first; with
`again`, masks are found again with the solved cameras and the
scene is solved a second time from there, as `align3r reconstruct` does, and both solves count.
Distances are after one similarity, Abs Rel after one scale for the sequence; `jitter` is the
standard deviation of the scale of single frames, `ratio` the scale of the path over the scale of
the depth (1: they agree); bytes are the peak above the inputs over pairs times pixels.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from generated import load_generator
from measure import PeakMemory, write_json
from own_masks import mask_iou, own_flows, own_masks

from align3r.config import AlignOptions
from align3r.optim import align
from align3r.types import PairFlows, PairPredictions, Solution

COLUMNS = {
    "seconds": ("s", 1, 1),
    "bytes": ("B / pair-pixel", 1, 1),
    "objective": ("objective", 1, 5),
    "ate_m": ("ATE mm", 1000, 1),
    "rpe_r_deg": ("RPE deg", 1, 3),
    "focal_err_%": ("focal err %", 1, 2),
    "absrel": ("Abs Rel", 1, 4),
    "absrel_dyn": ("Abs Rel moving", 1, 4),
    "d125": ("d<1.25", 1, 4),
    "scale_jitter_%": ("jitter %", 1, 2),
    "pose_depth_scale": ("ratio", 1, 3),
    "mask_iou": ("mask IoU", 1, 3),
}


@dataclass(frozen=True)
class Case:
    """One run."""

    name: str
    frames: int
    graph: str
    options: AlignOptions = field(default_factory=AlignOptions)
    again: bool = False


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


@dataclass(frozen=True)
class Inputs:
    """What one alignment is given."""

    predictions: PairPredictions
    flows: PairFlows
    static: np.ndarray
    keyframes: np.ndarray | None

    @staticmethod
    def of(problem: Any, graph: str, *, true_masks: bool) -> Inputs:
        edges, keyframes = graph_of(problem, graph)
        predictions, flows = inputs_of(problem, edges)
        if true_masks:
            return Inputs(predictions, flows, ~problem.dynamic, keyframes)
        flows = own_flows(flows)
        return Inputs(predictions, flows, own_masks(predictions, flows, problem.n), keyframes)


def measure(problem: Any, case: Case, given: Inputs) -> dict[str, Any]:
    """Align one problem and score it against its truth."""

    def solve(**more: Any) -> Solution:
        return align(
            given.predictions,
            n_frames=problem.n,
            options=case.options,
            flows=given.flows,
            prior=problem.mono,
            keyframes=given.keyframes,
            **more,
        )

    def whole() -> tuple[Solution, np.ndarray]:
        found = solve(static=given.static)
        if not case.again:
            return found, given.static
        static = own_masks(given.predictions, given.flows, problem.n, solution=found)
        return solve(static=static, start=found), static

    resident = PeakMemory(files=True)
    with resident.watch():
        whole()
    start = time.perf_counter()
    found, static = whole()
    seconds = time.perf_counter() - start
    pair_pixels = len(given.predictions.edges) * problem.H * problem.W
    return {
        "pairs": len(given.predictions.edges),
        "seconds": seconds,
        "bytes": 1e6 * resident.megabytes / pair_pixels,
        "objective": found.losses["total"],
        "mask_iou": mask_iou(static, problem.dynamic),
        **problem.evaluate(found.world_from_cam, found.focal, found.depth),
        "losses": found.losses,
    }


def cases(pixels: int) -> list[Case]:
    """Every run."""
    usual = AlignOptions(pixels=pixels)
    adam = replace(usual, solver="adam", schedule="joint")
    paper = replace(usual, flow_weight=0.01)
    silent = replace(usual, flow_weight=0.0)
    return [
        Case("10 frames", 10, "complete", usual),
        Case("10 frames, without flow", 10, "complete", silent),
        Case("10 frames, Adam", 10, "complete", adam),
        Case("30 frames", 30, "groups", usual),
        Case("30 frames, masks found again", 30, "groups", usual, again=True),
        Case("30 frames, Adam", 30, "groups", adam),
        Case("30 frames, flow weight 0.01", 30, "groups", paper),
        Case("30 frames, Adam, flow weight 0.01", 30, "groups", replace(adam, flow_weight=0.01)),
        Case("30 frames, without flow", 30, "groups", silent),
        Case("30 frames, Adam, without flow", 30, "groups", replace(adam, flow_weight=0.0)),
        Case("30 frames, scale map", 30, "groups", replace(usual, geometry="scale")),
        Case("30 frames, scale grid", 30, "groups", replace(usual, geometry="scale-grid")),
        Case("30 frames, swinstride", 30, "swinstride", usual),
    ]


def show(row: dict[str, Any]) -> None:
    cells = [f"{factor * row[key]:.{digits}f}" for key, (_, factor, digits) in COLUMNS.items()]
    print("| " + " | ".join([row["name"], str(row["seed"]), str(row["pairs"]), *cells]) + " |")
    sys.stdout.flush()


def medians(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a run: the median of every figure over the seeds."""
    found = []
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        middle = {key: float(np.median([row[key] for row in own])) for key in COLUMNS}
        found.append({"name": name, "seed": "median", "pairs": own[0]["pairs"], **middle})
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--generator", type=Path, default=Path("../shared/bench/synth_problem.py"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--size", type=int, nargs=2, default=(256, 144), metavar=("W", "H"))
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these runs, by their names")
    parser.add_argument("--true-masks", action="store_true", help="the generator's own")
    parser.add_argument("--threads", type=int, help="of torch; all cores if not given")
    parser.add_argument("--pixels", type=int, default=AlignOptions().pixels)
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks/aligner.json"))
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    module = load_generator(args.generator)
    heads = ["run", "seed", "pairs", *(head for head, _, _ in COLUMNS.values())]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    rows = []
    every = cases(args.pixels)
    unknown = set(args.only or []) - {case.name for case in every}
    if unknown:
        parser.error(f"no run is named {', '.join(sorted(unknown))}")
    wanted = [case for case in every if not args.only or case.name in args.only]
    for seed in args.seeds:
        width, height = args.size
        frames = sorted({case.frames for case in wanted})
        problems = {n: module.SynthProblem(n, height, width, seed) for n in frames}
        kept: dict[tuple[int, str], Inputs] = {}
        for case in wanted:
            problem, key = problems[case.frames], (case.frames, case.graph)
            if key not in kept:
                kept = {key: Inputs.of(problem, case.graph, true_masks=args.true_masks)}
            row = {"name": case.name, "seed": seed, **measure(problem, case, kept[key])}
            rows.append(row)
            show(row)
    rows += medians(rows)
    for row in rows[-len(wanted) :]:
        show(row)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(rows, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
