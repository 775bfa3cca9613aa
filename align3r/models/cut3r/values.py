"""What goes into CUT3R and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from align3r.models.heads import Grid

Flag = bool | Tensor
"""For all items of a batch, or (B,) of them."""


@dataclass(frozen=True)
class Cut3rState:
    """What is known of the frames so far, for B videos; its size never changes."""

    tokens: Tensor
    """(B, S, D) float32 state."""
    memory: Tensor
    """(B, M, 2D) float32 pose memory."""
    is_fresh: bool
    """Whether no frame has been seen yet."""


@dataclass(frozen=True)
class EncodedView:
    """An image, a ray map or both, of B videos, before the state sees it."""

    tokens: Tensor
    """(B, N, E) float32."""
    grid: Grid
    """Rows h and columns w of tokens; N = h * w."""
    has_image: bool
    """Whether there is anything to learn from it: a ray map alone is a question."""


@dataclass(frozen=True)
class Cut3rOutput:
    """What CUT3R says of a view; its length unit is metric where the training data's was."""

    own_points: Tensor
    """(B, H, W, 3) float32, in this view's camera."""
    own_confidence: Tensor
    """(B, H, W) float32, at least 1."""
    points: Tensor | None
    """(B, H, W, 3) float32, in the first view's camera, if they were asked for."""
    confidence: Tensor | None
    """(B, H, W) float32, at least 1, of `points`."""
    camera: Tensor
    """(B, 7) float32 pose in the first view's camera: translation, unit quaternion w x y z."""
    colours: Tensor | None
    """(B, H, W, 3) float32 in (-1, 1), if they were asked for."""
