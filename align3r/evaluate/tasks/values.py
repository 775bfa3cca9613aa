"""What measuring one sequence gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Measured:
    """The figures of one sequence, and how they came about."""

    row: Mapping[str, float]
    """Metrics by name; nan where there is nothing to measure."""
    frames: tuple[str, ...]
    """The frames that took part, as the data set calls them."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """For programs: alignment, options, warnings, times."""
    pictures: Mapping[str, np.ndarray] = field(default_factory=dict)
    """(h, w, 3) uint8 RGB by what they show."""
