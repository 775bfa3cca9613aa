"""Every option of an export, once: the same frozen dataclasses are API, CLI and docs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from align3r.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class ColmapOptions:
    """What a COLMAP model holds."""

    text: bool = False
    """Write the model as text, not binary."""
    points: int = 100_000
    """Most points beyond the tracks: static, confident, evenly thinned; 0 for tracks only."""
    tracks: int = 1000
    """About how many tracked points every image holds; 0 for none."""


@dataclass(frozen=True, kw_only=True)
class NerfstudioOptions:
    """What a folder for nerfstudio holds."""

    points: int = 100_000
    """Most points in its points.ply."""


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a result is written in other programs' formats."""

    min_confidence: float = 1.5
    """Points need at least this confidence."""
    max_points: int = 1_000_000
    """Most points in ply, glb and the like."""
    max_frame_points: int = 100_000
    """Most points of a single frame, in ply-frames and of what moves."""
    source: str | None = None
    """The video or images that the result was made from, to write images at their full size; where
    they were at the time when not given."""
    images: Literal["auto", "source", "working"] = "auto"
    """Size of written images: that of the source, that of the result's own images, or that of the
    source if it is there and else the result's (auto)."""
    image_format: Literal["jpg", "png"] = "jpg"
    """File type of written images."""
    depth_levels: float = 1000.0
    """Grey levels of a 16-bit depth image to one unit of length; 1000 makes metres into mm."""
    overwrite: bool = False
    """Replace what is there: a folder that is no export of the same format, or a file that is not
    in OUT/export."""
    colmap: ColmapOptions = field(default_factory=ColmapOptions)
    nerfstudio: NerfstudioOptions = field(default_factory=NerfstudioOptions)

    def __post_init__(self) -> None:
        """Refuse numbers that no export can make sense of.

        Raises:
            UsageError: A number is out of its range or not a number.
        """
        for name, value, least in (
            ("min-confidence", self.min_confidence, 0),
            ("max-points", self.max_points, 1),
            ("max-frame-points", self.max_frame_points, 1),
        ):
            if not least <= value < math.inf:
                raise UsageError(f"--{name} is {value}", hint=f"it is at least {least}, and finite")
        if not 0 < self.depth_levels < math.inf:
            raise UsageError(
                f"--depth-levels is {self.depth_levels:g}", hint="it is positive; 1000 is usual"
            )
