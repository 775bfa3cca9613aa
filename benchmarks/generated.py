"""Generated scenes as video: `python benchmarks/generated.py --generator SCRIPT`.

SCRIPT defines SynthProblem, a seeded scene with exact truth (default: the one beside the data).
Every option that is not listed here goes to `align3r reconstruct`.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from measure import mean_row, reconstruct_and_score, report

from align3r.datasets.rendered.clip import write_video
from align3r.datasets.truth import Truth

FPS = 30.0
NEARLY_LOSSLESS = 10


def load_generator(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("scene_generator", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def truth_of(problem: Any) -> Truth:
    """What is true about a generated scene; it already has our axes and pixel centres."""
    n = problem.n
    return Truth(
        world_from_cam=np.linalg.inv(problem.poses[0]) @ problem.poses,
        intrinsics=np.repeat(problem.K[None], n, axis=0),
        times=np.arange(n) / FPS,
        size=(problem.W, problem.H),
        depth=lambda i: problem.depth[i].astype(np.float32),
        moving=lambda i: problem.dynamic[i],
    )


def images_of(problem: Any) -> np.ndarray:
    """(N, H, W, 3) uint8 RGB."""
    frames = [np.rint(255 * problem.rgb(t)).astype(np.uint8) for t in range(problem.n)]
    return np.stack(frames)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--generator", type=Path, default=Path("../shared/bench/synth_problem.py"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--size", type=int, nargs=2, default=(512, 288), metavar=("W", "H"))
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks"))
    args, extra = parser.parse_known_args()
    if not args.generator.is_file():
        parser.error(f"no such file: {args.generator}")
    generator = load_generator(args.generator)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in args.seeds:
        # The noise is of predictions that are not used here.
        problem = generator.SynthProblem(args.frames, args.size[1], args.size[0], seed, "clean")
        video = args.out / f"generated_{seed}.mp4"
        write_video(images_of(problem), video, fps=FPS, crf=NEARLY_LOSSLESS)
        row = reconstruct_and_score(
            video, args.out / f"generated_{seed}", truth_of(problem), extra=extra
        )
        rows.append({"name": f"seed {seed}", **row})
    rows.append(mean_row(rows))
    return report(rows, args.out / "generated.json", first="scene")


if __name__ == "__main__":
    sys.exit(main())
