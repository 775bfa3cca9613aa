"""Render the example clip and its exact truth: `python examples/render_clip.py`.

Writes clip.mp4 (a hand-held camera in a room where a figure walks and a ball bounces) and
clip_truth.npz beside this script. The same on every machine, up to the video encoder.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from align3r.datasets.rendered.clip import CAMERAS, render, write_truth, write_video

HERE = Path(__file__).resolve().parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=list(CAMERAS), default="walk")
    parser.add_argument("--frames", type=int, default=36)
    parser.add_argument("--size", type=int, nargs=2, default=(384, 288), metavar=("W", "H"))
    parser.add_argument("--fps", type=float, default=12.0)
    parser.add_argument("--out", type=Path, default=HERE / "clip.mp4")
    args = parser.parse_args()
    clip = render(args.kind, n_frames=args.frames, size=tuple(args.size), fps=args.fps)
    write_video(clip.images, args.out, fps=args.fps)
    write_truth(clip, args.out.with_name(f"{args.out.stem}_truth.npz"))


if __name__ == "__main__":
    main()
