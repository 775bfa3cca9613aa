"""The global aligner: pair predictions in, one scene out."""

from __future__ import annotations

from align3r.optim.aligner import align
from align3r.optim.journal import Checkpoint

__all__ = ["Checkpoint", "align"]
