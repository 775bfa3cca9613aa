"""What a depth network is to the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from align3r.io.priors import Kind, PriorMap

UNUSED = r"mask_token$"
"""A parameter for training only, which some exports leave out."""


class DepthNetwork(Protocol):
    """Tells depth from single images."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def kind(self) -> Kind:
        """What its values are."""

    @property
    def is_metric(self) -> bool:
        """Whether its depth claims to be in metres."""

    @property
    def batch(self) -> int:
        """How many images to give it at once."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[PriorMap]:
        """The values at the size of the images, (H, W, 3) uint8 RGB, all of one size."""
