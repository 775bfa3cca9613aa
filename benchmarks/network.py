"""Pair inference at full size on random weights: `python benchmarks/network.py`.

Three ways, in one process for each precision: the reference's (every pair from its pixels, one at
a time, the heads as the papers draw them), the same with our heads and our heap, and frames
encoded once. The first two are the median of a few pairs, before and after, times all pairs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import write_json

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from textbook import textbook_heads

from align3r.config import PairOptions, PrecisionName
from align3r.device import kept_heap, resolve_device, resolve_precision
from align3r.models.architecture import PairArchitecture
from align3r.models.pair_network import PairNetwork
from align3r.pairing import build_pairs
from align3r.pairwise.network.predictor import NetworkPredictor, RunOptions
from align3r.stopwatch import peak_mb
from align3r.types import Frames, KnownCameras, MonoDepth

BRANCH_BLOCKS = 4


def random_network(precision: torch.dtype, device: torch.device, seed: int = 0) -> PairNetwork:
    """The published Align3R architecture with random weights of a sensible size."""
    with torch.device("meta"):
        network = PairNetwork(PairArchitecture(point_map_blocks=BRANCH_BLOCKS))
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for name, values in network.named_parameters():
        if values.ndim > 1:
            fan_in = values[0].numel()
            values.data.normal_(0, 0.5 / fan_in**0.5, generator=generator)
        else:
            values.data.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
    heads = precision if device.type == "cpu" else torch.float32
    return network.in_precision(blocks=precision, heads=heads).eval().to(device)


def random_video(count: int, size: tuple[int, int]) -> tuple[Frames, MonoDepth]:
    """Noise, which costs a network as much as any picture."""
    width, height = size
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
    maps = rng.random((count, height, width, 3), np.float32)
    frames = Frames(images, np.arange(count) / 30, np.arange(count), size, "noise")
    return frames, MonoDepth(maps[..., 2] + 0.1, maps, None, is_metric=False, name="noise")


@torch.inference_mode()
def seconds_a_pair(network: PairNetwork, frames: Frames, mono: MonoDepth, repeats: int) -> float:
    """Median of whole pairs from their pixels, after one that does not count."""
    device = next(network.parameters()).device
    taken = []
    for k in range(repeats + 1):
        rows = [k % len(frames), (k + 1) % len(frames)]
        start = time.perf_counter()
        pixels = torch.from_numpy(frames.images[rows]).permute(0, 3, 1, 2).to(device)
        maps = torch.from_numpy(mono.point_maps[rows]).to(device)
        pixels = (pixels.float() / 255 - 0.5) / 0.5
        output = network((pixels[:1], pixels[1:]), (maps[:1], maps[1:]))
        for values in (*output.points, *output.confidence):
            values.cpu()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken[1:])


def measure(precision: PrecisionName, args: argparse.Namespace) -> dict[str, Any]:
    """One row: both ways in one precision."""
    device = resolve_device(args.device)
    network = random_network(resolve_precision(precision, device), device)
    frames, mono = random_video(args.frames, (args.width, args.height))
    edges = build_pairs(args.frames, PairOptions(group=10))
    run = RunOptions(device=device, batch=args.batch, compile=args.compile)
    predictor = NetworkPredictor("random", network, run)
    both = [_uncached(network, frames, mono, args.repeats)]
    start = time.perf_counter()
    predictor.predict(frames, edges, known=KnownCameras(), mono=mono)
    cached = time.perf_counter() - start
    both.append(_uncached(network, frames, mono, args.repeats))
    reference, ours = (len(edges) * statistics.mean(way) for way in zip(*both, strict=True))
    return {
        "precision": precision,
        "frames": len(frames),
        "pairs": len(edges),
        "reference_s_a_pair": [way[0] for way in both],
        "uncached_s_a_pair": [way[1] for way in both],
        "reference_s": reference,
        "uncached_s": ours,
        "cached_s": cached,
        "peak_gb": peak_mb() / 1000,
    }


def _uncached(
    network: PairNetwork, frames: Frames, mono: MonoDepth, repeats: int
) -> tuple[float, float]:
    """Seconds a pair: the reference's way, and with our heads and heap."""
    with textbook_heads(network):
        reference = seconds_a_pair(network, frames, mono, repeats)
    with kept_heap():
        return reference, seconds_a_pair(network, frames, mono, repeats)


def table(rows: list[dict[str, Any]]) -> str:
    slowest = max(row["reference_s"] for row in rows)
    lines = [
        "| precision | the reference's way, s (a pair) | our heads, s (a pair) |"
        " frames encoded once, s | faster than the reference's way | than our heads alone |"
        " than the slowest | peak GB |",
        "| --- |" + " ---: |" * 7,
    ]
    for row in rows:
        cells = [row["precision"]]
        for way in ("reference", "uncached"):
            low, high = sorted(row[f"{way}_s_a_pair"])
            cells.append(f"{row[f'{way}_s']:.0f} ({low:.2f}–{high:.2f})")
        cached = row["cached_s"]
        cells += [f"{cached:.0f}", f"{row['reference_s'] / cached:.2f}"]
        cells += [f"{row['uncached_s'] / cached:.2f}", f"{slowest / cached:.1f}"]
        lines.append(f"| {' | '.join([*cells, format(row['peak_gb'], '.2f')])} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", nargs="+", default=["bf16", "fp32"])
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--height", type=int, default=288)
    parser.add_argument("--repeats", type=int, default=5, help="pairs measured before and after")
    parser.add_argument("--batch", type=int, default=0)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path, default=Path("out/benchmarks/network.json"))
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.precision[0], args)))
        return 0
    rows = []
    for precision in args.precision:
        # A process of its own, so that its peak of memory is its own.
        words = [sys.executable, *sys.argv, "--precision", precision, "--one"]
        done = subprocess.run(words, stdout=subprocess.PIPE, check=True, text=True)
        rows.append(json.loads(done.stdout))
    print(table(rows))
    args.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(rows, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
