"""align3r: cameras, depth, motion masks and point clouds from an ordinary video."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Options",
    "Reconstruction",
    "__version__",
    "compare",
    "load",
    "reconstruct",
    "reconstruct_many",
    "reconstruct_shots",
]

if TYPE_CHECKING:
    from align3r.batch.runner import reconstruct_many as reconstruct_many
    from align3r.config import Options as Options
    from align3r.evaluate.comparing import compare as compare
    from align3r.io.result import load as load
    from align3r.pipeline import reconstruct as reconstruct
    from align3r.reconstruction import Reconstruction as Reconstruction
    from align3r.splitting import reconstruct_shots as reconstruct_shots

logging.getLogger(__name__).addHandler(logging.NullHandler())

# Resolved on first use, so that reading a result or asking for help imports no torch.
_HOMES = {
    "Options": "align3r.config",
    "Reconstruction": "align3r.reconstruction",
    "compare": "align3r.evaluate.comparing",
    "load": "align3r.io.result",
    "reconstruct": "align3r.pipeline",
    "reconstruct_many": "align3r.batch.runner",
    "reconstruct_shots": "align3r.splitting",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'align3r' has no attribute {name!r}")
