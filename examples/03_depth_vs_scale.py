"""Lesson 3: solve for a depth map per frame, or for a scale map on a prior depth?

The clip was rendered, so its exact truth is known and both can be scored against it. The pairs are
computed once; out/compare/compare.md and compare.png show more.
"""

from pathlib import Path

import align3r
from align3r.config import Options, OutputOptions

here = Path(__file__).parent
comparison = align3r.compare(
    here / "clip.mp4",
    "out/compare",
    vary=["geometry"],
    options=Options(output=OutputOptions(overwrite=True, html=False, pictures=False)),
    truth=here / "clip_truth.npz",
)
shown = ("loss", "Abs Rel", "static", "moving", "ATE m")
print(f"{'':12}" + "".join(f"{head:>10}" for head in shown))
for row in comparison.table:
    print(f"{row['run']:12}" + "".join(f"{row[head]:10.4g}" for head in shown))
