"""Depth Anything V2: disparity up to scale and shift, or depth in metres."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import interpolate

from align3r.errors import WeightsError
from align3r.io.priors import Kind, PriorMap
from align3r.models.pretrained import load_pretrained
from align3r.mono.network import UNUSED

_SIDE = 518
_PATCH = 14
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)


class DepthAnything:
    """Depth Anything V2, relative or metric, of any size (Yang et al. 2024)."""

    batch = 4

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        metric: bool,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Load the network from a folder.

        Raises:
            WeightsError: The folder is damaged, holds another network, or is relative where
                `metric` is asked for, or the other way round.
            MissingExtraError: `transformers` cannot be imported as it is installed.
        """
        self._network = load_pretrained(
            folder, "DepthAnythingForDepthEstimation", device=device, dtype=dtype, unused=UNUSED
        )
        self._device, self._dtype = device, dtype
        self.name = name
        self.is_metric = metric
        self.kind: Kind = "depth" if metric else "disparity"
        # A relative network's config.json may say null, meaning 1.
        self._network.head.max_depth = self._network.head.max_depth or 1
        estimates = self._network.config.depth_estimation_type
        if (estimates == "metric") != metric:
            raise WeightsError(
                f"{folder} holds a {estimates} Depth Anything, {name} is "
                f"{'metric' if metric else 'relative'}",
                hint="choose the --prior.model that the weights are of",
            )

    def __call__(self, images: Sequence[np.ndarray]) -> list[PriorMap]:
        """Raw disparity, or metres, bicubic at the size of the images; no focal length."""
        pixels = torch.from_numpy(np.stack([prepare(image) for image in images]))
        with torch.inference_mode():
            answer = self._network(pixel_values=pixels.to(self._device, self._dtype))
            values = interpolate(
                answer.predicted_depth.float()[:, None],
                size=images[0].shape[:2],
                mode="bicubic",
                align_corners=False,
            )
        return [PriorMap(value, None) for value in values[:, 0].cpu().numpy()]


def input_size(source_size: tuple[int, int]) -> tuple[int, int]:
    """The (width, height) that the network is fed: multiples of 14, a side about 518.

    The side that needs less resizing to become 518 sets the scale of both.
    """
    scale = min((_SIDE / side for side in reversed(source_size)), key=lambda s: abs(1 - s))
    width, height = (max(round(scale * side / _PATCH), 1) * _PATCH for side in source_size)
    return width, height


def prepare(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 RGB to the network's (3, h, w) float32."""
    size = input_size((image.shape[1], image.shape[0]))
    resized = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
    normalised = (np.asarray(resized, np.float32) / 255 - _MEAN) / _STD
    return np.ascontiguousarray(normalised.transpose(2, 0, 1))
