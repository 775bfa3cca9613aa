"""What half precision costs a pair network: `python benchmarks/precision.py`.

The tiny networks of `tests/golden/networks` (random weights) against the reference's float32
numbers: the median and the 99 % quantile over all pixels of |p - p_ref| / |p_ref|, and the median
of the relative error of the confidence. Random weights are harder on rounding than trained ones.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from golden_networks import CASES, NAMES, arrays, hub_folder, images, point_maps

from align3r.models.loading import load_pair_network

POLICIES = {
    "fp32": (torch.float32, torch.float32),
    "bf16, heads fp32 (GPU)": (torch.bfloat16, torch.float32),
    "bf16 (CPU)": (torch.bfloat16, torch.bfloat16),
    "fp16, heads fp32 (GPU)": (torch.float16, torch.float32),
    "fp16 (CPU)": (torch.float16, torch.float16),
}


def errors(name: str, blocks: torch.dtype, heads: torch.dtype) -> tuple[float, float, float]:
    """Median and 99 % quantile of the points' error, median of the confidences'."""
    of_points, of_confidence = [], []
    with tempfile.TemporaryDirectory() as folder:
        network = load_pair_network(hub_folder(name, Path(folder)))
        network.in_precision(blocks=blocks, heads=heads)
        for other, case in CASES:
            if other != name:
                continue
            golden = arrays(name, case)
            with torch.inference_mode():
                output = network(images(golden), point_maps(golden))
            for view in (0, 1):
                reference = golden[f"pts3d{view + 1}"]
                miss = np.linalg.norm(output.points[view].numpy() - reference, axis=-1)
                of_points.append(miss / np.linalg.norm(reference, axis=-1))
                sure = golden[f"conf{view + 1}"]
                of_confidence.append(np.abs(output.confidence[view].numpy() - sure) / sure)
    points = np.concatenate([e.ravel() for e in of_points])
    confidence = np.concatenate([e.ravel() for e in of_confidence])
    return float(np.median(points)), float(np.quantile(points, 0.99)), float(np.median(confidence))


def main() -> None:
    print("| precision | " + " | ".join(NAMES) + " |")
    print("| --- |" + " ---: |" * len(NAMES))
    for policy, (blocks, heads) in POLICIES.items():
        cells = ["{:.1e} / {:.1e} / {:.1e}".format(*errors(name, blocks, heads)) for name in NAMES]
        print(f"| {policy} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
