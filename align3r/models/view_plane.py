"""Where the pixels of an image lie in its view, whatever its size."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def view_plane(size: tuple[int, int], aspect: float, *, like: Tensor) -> Tensor:
    """(h, w, 2) where pixel centres lie in a view plane whose corners are 1 away from its centre.

    Args:
        size: h and w.
        aspect: Width by height of the whole plane.
        like: Whose device and number format to take.
    """
    height, width = size
    diagonal = math.hypot(1, aspect)
    x, y = (
        torch.linspace(-end, end, n, device=like.device, dtype=like.dtype)
        for n, end in (
            (width, aspect / diagonal * (width - 1) / width),
            (height, 1 / diagonal * (height - 1) / height),
        )
    )
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)
