"""A long video from end to end: `python benchmarks/soak.py --frames 2000`.

The example clip, played to and fro until it is long enough and made small, is reconstructed by the
embedded default while the memory of the process is sampled. Prints a table of the stages, writes
the samples as JSON and draws the memory curve.

Anonymous memory is what the run itself holds; pages of mapped files are dropped by the system when
something else needs the room, and count apart.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from measure import write_json

import align3r
from align3r.config import InputOptions, Options, OutputOptions
from align3r.datasets.rendered.clip import write_video
from align3r.datasets.truth_files import read_rendered
from align3r.evaluate.metrics import path_length, trajectory_errors
from align3r.meanwhile import now_and_then

CLIP = Path(__file__).resolve().parents[1] / "examples" / "clip.mp4"
TRUTH = CLIP.with_name("clip_truth.npz")

FPS = 12.0
STATUS = Path("/proc/self/status")


@dataclass
class Sample:
    """The memory of the process at one moment, in 10^6 bytes."""

    seconds: float
    stage: str
    done: int
    total: int
    anonymous_mb: float
    resident_mb: float


@dataclass
class Recorder:
    """Samples the memory of this process while a block runs."""

    samples: list[Sample] = field(default_factory=list)
    _at: tuple[str, int, int] = ("start", 0, 1)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Hear from the pipeline where it is."""
        self._at = (stage, done, total)

    @contextmanager
    def watch(self, *, every_s: float) -> Iterator[None]:
        self._start = time.perf_counter()
        with now_and_then(self._look, every_s=every_s):
            yield
        self._look()

    def _look(self) -> None:
        lines = STATUS.read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        mb = {key: int(fields[key].split()[0]) * 1024 / 1e6 for key in ("RssAnon", "VmRSS")}
        now = time.perf_counter() - self._start
        self.samples.append(Sample(now, *self._at, mb["RssAnon"], mb["VmRSS"]))


def to_and_fro(n_frames: int) -> np.ndarray:
    """(N,) numbers of the frames of the example clip."""
    last = len(read_rendered(TRUTH)) - 1
    return last - np.abs(np.arange(n_frames) % (2 * last) - last)


def long_clip(args: argparse.Namespace) -> Path:
    """The video, made by the first run and found again by the next."""
    video = args.out / f"soak_{args.frames}_{args.size[0]}x{args.size[1]}.mp4"
    if not video.exists():
        capture = cv2.VideoCapture(str(CLIP))
        few = [capture.read()[1][..., ::-1] for _ in range(len(read_rendered(TRUTH)))]
        small = [cv2.resize(image, tuple(args.size), interpolation=cv2.INTER_AREA) for image in few]
        write_video(np.stack(small)[to_and_fro(args.frames)], video, fps=FPS)
    return video


def measure(args: argparse.Namespace, video: Path) -> tuple[dict[str, Any], Recorder]:
    """Reconstruct with the embedded predictor and nothing else changed, sampling the memory."""
    options = Options(
        model="geometric",
        input=InputOptions(size=max(args.size)),
        output=OutputOptions(overwrite=True, html=False, pictures=False),
        memory_budget=args.memory_budget,
    )
    start = time.perf_counter()
    recorder = Recorder()
    with recorder.watch(every_s=args.every_s):
        scene = align3r.reconstruct(
            video, out=args.out / "result", options=options, progress=recorder
        )
    seconds = time.perf_counter() - start
    row = {"frames": len(scene), "pairs": scene.info["pairs"], "seconds": seconds}
    row |= {"plan": scene.info["plan"], "timings": scene.info["timings"]}
    true = read_rendered(TRUTH).world_from_cam[to_and_fro(len(scene))]
    return row | path_error(scene, true), recorder


def path_error(scene: align3r.Reconstruction, true: np.ndarray) -> dict[str, float]:
    """Root mean square of the positions after one similarity, and its share of the path."""
    found = trajectory_errors(true, scene.world_from_cam)
    return {"ate_m": found["ate_m"], "ate_%": 100 * found["ate_m"] / path_length(true)}


def stage_rows(recorder: Recorder) -> list[dict[str, Any]]:
    """For each stage its seconds, its highest memory, and what it grew by after its first fifth."""
    rows = []
    for stage in dict.fromkeys(sample.stage for sample in recorder.samples):
        some = [s for s in recorder.samples if s.stage == stage]
        span = some[-1].seconds - some[0].seconds
        later = [s for s in some if s.seconds >= some[0].seconds + 0.2 * span]
        rows.append(
            {
                "stage": stage,
                "seconds": span,
                "peak_mb": max(s.anonymous_mb for s in some),
                "growth_mb": later[-1].anonymous_mb - later[0].anonymous_mb,
                "resident_mb": max(s.resident_mb for s in some),
            }
        )
    return rows


def draw(recorder: Recorder, rows: list[dict[str, Any]], path: Path, *, title: str) -> None:
    """The memory curve, with the stages marked."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 3.6), dpi=100)
    minutes = [s.seconds / 60 for s in recorder.samples]
    axes.plot(minutes, [s.resident_mb for s in recorder.samples], color="0.75", label="resident")
    axes.plot(minutes, [s.anonymous_mb for s in recorder.samples], color="C0", label="anonymous")
    top, low = axes.get_ylim()[1], 0.0
    for row in rows:
        first = next(s.seconds for s in recorder.samples if s.stage == row["stage"]) / 60
        axes.axvline(first, color="0.85", linewidth=0.8, zorder=0)
        if row["seconds"] > 0.03 * recorder.samples[-1].seconds:
            axes.text(first, 0.02 * top, f" {row['stage']}", rotation=90, va="bottom", fontsize=8)
    axes.set(xlabel="minutes", ylabel="MB", title=title, ylim=(low, top), xlim=(0, minutes[-1]))
    axes.legend(loc="upper left", frameon=False)
    figure.tight_layout()
    figure.savefig(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--size", type=int, nargs=2, default=(96, 72), metavar=("W", "H"))
    parser.add_argument("--every-s", type=float, default=0.5, help="seconds between two samples")
    parser.add_argument("--memory-budget", type=float, default=2.5, metavar="GB")
    parser.add_argument("--out", type=Path, default=Path("out/benchmarks/soak"))
    parser.add_argument("--picture", type=Path, help="PNG of the curve; beside the JSON otherwise")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    row, recorder = measure(args, long_clip(args))
    rows = stage_rows(recorder)
    print("| stage | seconds | peak MB | growth MB | resident MB |\n| --- |" + " ---: |" * 4)
    for at in rows:
        figures = (at[key] for key in ("seconds", "peak_mb", "growth_mb", "resident_mb"))
        print(f"| {at['stage']} | " + " | ".join(f"{x:.0f}" for x in figures) + " |")
    print({key: row[key] for key in row if key not in ("timings",)})
    samples = [asdict(sample) for sample in recorder.samples]
    path = args.out / f"soak_{args.frames}.json"
    write_json([{**row, "stages": rows, "samples": samples}], path)
    picture = args.picture or path.with_suffix(".png")
    title = f"{args.frames} frames of {args.size[0]}x{args.size[1]}, embedded predictor"
    draw(recorder, rows, picture, title=title)
    return 0


if __name__ == "__main__":
    sys.exit(main())
