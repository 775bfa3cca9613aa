"""Lesson 3: solve for a depth map per frame, or for a scale map on a prior depth?

The clip was rendered, so its exact truth is known and both can be scored against it.
"""

from pathlib import Path

import align3r
from align3r.config import AlignOptions, Options, OutputOptions
from align3r.evaluate.score import score
from align3r.evaluate.sequences import read_truth

here = Path(__file__).parent
truth = read_truth(here / "clip_truth.npz")

print(f"{'':8}{'AbsRel':>8}{'static':>8}{'moving':>8}{'ATE cm':>8}")
for geometry in ("depth", "scale"):
    options = Options(
        align=AlignOptions(geometry=geometry),
        output=OutputOptions(overwrite=True, html=False, pictures=False),
    )
    scene = align3r.reconstruct(here / "clip.mp4", out=f"out/compare_{geometry}", options=options)
    result = score(scene, truth)
    print(
        f"{geometry:8}{result['abs_rel']:8.3f}{result['abs_rel_static']:8.3f}"
        f"{result['abs_rel_moving']:8.3f}{100 * result['ate_m']:8.2f}"
    )
