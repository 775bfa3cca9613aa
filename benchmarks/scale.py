"""Long videos: `python benchmarks/scale.py --frames 30 100 300 1000`.

A generated room (`--generator`) is filmed by a camera that goes round in it, a lap in 300 frames:
from the second lap on it sees what it saw before. Predictions and flows are written pair by pair
into mapped files, as in a run whose memory is short, and aligned in one problem of all frames,
with and without the loop pairs that are found in the images. Pairs are as noisy as the distance of
their views is large, whatever the time between them. Flow counts where it leads back to its pixel.

Seconds a frame are those of the aligner's parts; the peak is of anonymous memory, above what there
was before, because the system drops pages of mapped files when it needs to.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from generated import images_of, load_generator
from measure import PeakMemory, write_json

from align3r.config import AlignOptions, PairOptions
from align3r.flow.pairs import empty_flows
from align3r.flow.warp import consistent
from align3r.io.storage import Storage, scratch_files
from align3r.optim import aligner, stages
from align3r.pairing import build_pairs, find_loops
from align3r.pairwise.predictor import empty_predictions
from align3r.types import PairFlows, PairPredictions, Solution

PARTS = ("sampling", "start", "solve", "dense")
MAPPED = frozenset({"predictions", "flows", "solution"})
COLUMNS = {
    "seconds": ("s", 1, 1),
    "ms_a_frame": ("ms/frame", 1, 1),
    "cpu_ms_a_frame": ("of the CPU", 1, 1),
    **{f"{part}_ms": (part, 1, 1) for part in PARTS},
    "peak_mb": ("peak MB", 1, 0),
    "ate_m": ("ATE mm", 1000, 1),
    "ate_%": ("ATE % of path", 1, 3),
    "rpe_r_deg": ("RPE deg", 1, 3),
    "focal_err_%": ("focal err %", 1, 2),
    "absrel": ("Abs Rel", 1, 4),
    "pose_depth_scale": ("ratio", 1, 3),
}


def laps(module: Any, n_frames: int, *, lap: int, seed: int) -> np.ndarray:
    """(N, 4, 4) poses of a hand-held camera that goes round and looks at the walls."""
    rng = np.random.default_rng([seed, 7])
    jitter = rng.standard_normal((n_frames, 6))
    sway = rng.uniform(0, 2 * np.pi, 6)
    poses = []
    for t in range(n_frames):
        angle = 2 * np.pi * t / lap
        place = np.array([1.2 * np.sin(angle), -0.05, 0.5 - np.cos(angle)])
        place += (
            0.02 * np.sin(np.array([2.1, 2.7, 1.7]) * t / 5 + sway[:3]) + 0.0025 * jitter[t, :3]
        )
        lean = 0.012 * np.sin(np.array([2.3, 1.9, 1.3]) * t / 5 + sway[3:])
        turn = module.rot_y(np.pi - angle) @ module.so3_exp(lean - [0.06, 0, 0])
        poses.append(module.rt(turn @ module.so3_exp(np.radians(0.12) * jitter[t, 3:]), place))
    return np.stack(poses)


def there_and_back(motion: Callable[[int], np.ndarray], span: int) -> Callable[[int], np.ndarray]:
    """The same motion, turning round every `span` frames: it never leaves the room."""
    return lambda t: motion(span - abs(t % (2 * span) - span))


def lap_problem(module: Any, args: argparse.Namespace, n_frames: int, seed: int) -> Any:
    """The generator's problem with another camera, and noise by the distance of the views."""
    scene_of = module.build_scene

    def scene(seed: int) -> list[Any]:
        solids: list[Any] = scene_of(seed)
        for solid in solids:
            if solid.motion is not None:
                solid.motion = there_and_back(solid.motion, 40)
        return solids

    class LapProblem(module.SynthProblem):  # type: ignore[misc]
        noise: dict[str, float]

        def _pair(self, i: int, j: int) -> Any:
            noise, gap = self.noise, abs(i - j)
            near = gap % args.lap
            self.view_gap = max(1, min(near, args.lap - near))
            growth = noise["gap_growth"] * (self.view_gap - 1) / max(gap - 1, 1)
            self.noise = {**noise, "gap_growth": growth}
            try:
                return super()._pair(i, j)
            finally:
                self.noise = noise

        def _conf(self, err: Any, hidden: Any, g: Any, gap: int, t: int) -> Any:
            return super()._conf(err, hidden, g, self.view_gap, t)

    module.build_scene = scene
    module.build_trajectory = lambda seed, n: laps(module, n, lap=args.lap, seed=seed)
    try:
        return LapProblem(n_frames, args.size[1], args.size[0], seed)
    finally:
        module.build_scene = scene_of


def inputs_of(
    problem: Any, edges: np.ndarray, storage: Storage
) -> tuple[PairPredictions, PairFlows]:
    """Predictions and flows in the storage, one pair after the other."""
    shape = (problem.H, problem.W)
    points, confidence = empty_predictions(len(edges), shape, storage)
    flows = empty_flows(edges, shape, storage)
    for k, (i, j) in enumerate(edges.tolist()):
        first, second, sure, also = problem.pair(i, j)
        points.numpy()[k] = np.stack([first, second])
        confidence.numpy()[k] = np.stack([sure, also])
        there, back = problem.flow(i, j)[0], problem.flow(j, i)[0]
        flows.forward[k], flows.backward[k] = np.clip(there, -2e3, 2e3), np.clip(back, -2e3, 2e3)
        flows.forward_valid[k] = consistent(there, back)
        flows.backward_valid[k] = consistent(back, there)
    centre = (float(problem.pp[0]), float(problem.pp[1]))
    return PairPredictions(edges, points, confidence, centre), flows


@contextmanager
def timed_parts() -> Iterator[dict[str, float]]:
    """Seconds in the aligner's parts while the block runs."""
    seconds = dict.fromkeys(PARTS, 0.0)
    places: list[tuple[str, dict[str, Any], str]] = [
        ("sampling", vars(aligner), "sample_predictions"),
        ("sampling", vars(stages), "flow_observations"),
        ("sampling", vars(stages), "point_observations"),
        ("start", vars(stages), "initialise"),
        *(("solve", stages.SOLVERS, name) for name in stages.SOLVERS),
        ("dense", vars(aligner), "dense_maps"),
    ]

    def timed(part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def measured(*args: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*args, **named)
            finally:
                seconds[part] += time.perf_counter() - start

        return measured

    before = [(space, name, space[name]) for _, space, name in places]
    for part, space, name in places:
        space[name] = timed(part, space[name])
    try:
        yield seconds
    finally:
        for space, name, work in before:
            space[name] = work


def first_pairs(
    predictions: PairPredictions, flows: PairFlows, count: int
) -> tuple[PairPredictions, PairFlows]:
    """The first pairs of all, where they are."""
    few = {
        field.name: getattr(flows, field.name)[:count] for field in dataclasses.fields(PairFlows)
    }
    seen = {name: getattr(predictions, name)[:count] for name in ("edges", "points", "confidence")}
    return dataclasses.replace(predictions, **seen), PairFlows(**few)


def measure(
    problem: Any,
    predictions: PairPredictions,
    flows: PairFlows,
    options: AlignOptions,
    *,
    storage: Storage,
) -> dict[str, Any]:
    """Align one problem from files and score it."""
    memory, start, used = PeakMemory(files=False), time.perf_counter(), time.process_time()
    with memory.watch(), timed_parts() as seconds:
        found: Solution = aligner.align(
            predictions,
            n_frames=problem.n,
            options=options,
            flows=flows,
            static=~problem.dynamic,
            storage=storage,
        )
    whole, used = time.perf_counter() - start, time.process_time() - used
    row: dict[str, Any] = problem.evaluate(found.world_from_cam, found.focal, found.depth)
    steps = np.linalg.norm(np.diff(problem.poses[:, :3, 3], axis=0), axis=1)
    row["ate_%"] = 100 * row["ate_m"] / float(steps.sum())
    row |= {f"{part}_ms": 1000 * s / problem.n for part, s in seconds.items()}
    cost = {
        "seconds": whole,
        "ms_a_frame": 1000 * whole / problem.n,
        "cpu_ms_a_frame": 1000 * used / problem.n,
        "peak_mb": memory.megabytes,
    }
    return row | cost | {"losses": found.losses}


def measure_both(
    problem: Any, pairs: PairOptions, options: AlignOptions, *, lap: int
) -> Iterator[dict[str, Any]]:
    """Rows without and with loop pairs, if any are found, from one set of predictions."""
    loops, right = loops_of(problem, pairs, lap=lap)
    plain = build_pairs(problem.n, pairs)
    with scratch_files() as files:
        storage = Storage(files, MAPPED)
        inputs = inputs_of(problem, np.concatenate([plain, loops]), storage)
        files.flush()
        for count in (0, len(loops)) if len(loops) else (0,):
            some = first_pairs(*inputs, len(plain) + count)
            about = {"frames": problem.n, "pairs": len(plain) + count, "loops": count}
            found = measure(problem, *some, options, storage=storage)
            yield {**about, "loops_right": right, **found}


def loops_of(problem: Any, pairs: PairOptions, *, lap: int) -> tuple[np.ndarray, float]:
    """Loop pairs found in the images, and the share whose views are within a tenth of a lap."""
    found = find_loops(images_of(problem), pairs)
    if not len(found):
        return found, math.nan
    near = (found[:, 1] - found[:, 0]) % lap
    return found, float((np.minimum(near, lap - near) <= lap / 10).mean())


def show(row: dict[str, Any]) -> None:
    cells = [f"{factor * row[key]:.{digits}f}" for key, (_, factor, digits) in COLUMNS.items()]
    about = [str(row[key]) for key in ("frames", "seed", "pairs", "loops")]
    print("| " + " | ".join([*about, *cells]) + " |", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--generator", type=Path, default=Path("../shared/bench/synth_problem.py"))
    parser.add_argument("--frames", type=int, nargs="+", default=[30, 100, 300, 1000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--size", type=int, nargs=2, default=(256, 144), metavar=("W", "H"))
    parser.add_argument("--lap", type=int, default=300, help="frames in which the camera is back")
    parser.add_argument("--group", type=int, default=PairOptions().group)
    parser.add_argument("--solver", default="gauss-newton", choices=list(stages.SOLVERS))
    parser.add_argument("--pixels", type=int, default=AlignOptions().pixels)
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks/scale.json"))
    args = parser.parse_args()
    module = load_generator(args.generator)
    options = AlignOptions(solver=args.solver, schedule="joint", pixels=args.pixels)
    pairs = PairOptions(group=args.group)
    heads = ["frames", "seed", "pairs", "loops", *(head for head, _, _ in COLUMNS.values())]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads), flush=True)
    rows = []
    for seed in args.seeds:
        for n in args.frames:
            problem = lap_problem(module, args, n, seed)
            for row in measure_both(problem, pairs, options, lap=args.lap):
                rows.append({"seed": seed, **row})
                show(rows[-1])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_json(rows, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
