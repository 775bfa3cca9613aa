"""Clips with exact truth for tests, rendered as the example clip is."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from align3r.datasets.rendered.clip import CAMERAS, Clip, render, write_truth, write_video

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

__all__ = ["CAMERAS", "EXAMPLES", "Clip", "clip_on_disk", "rendered", "write_truth", "write_video"]


@lru_cache(maxsize=8)
def rendered(kind: str = "walk", **options: Any) -> Clip:
    """A clip, rendered once a test run; options as in `render`, rough edges unless told."""
    return render(kind, **{"smooth": 1, **options})


def clip_on_disk(
    folder: Path, kind: str = "walk", *, fps: float = 12.0, **options: Any
) -> tuple[Path, Clip]:
    """An .mp4 in `folder`, its truth beside it, and the clip itself."""
    clip = rendered(kind, fps=fps, **options)
    video = folder / f"{kind}.mp4"
    write_video(clip.images, video, fps=fps)
    write_truth(clip, folder / f"{kind}_truth.npz")
    return video, clip
