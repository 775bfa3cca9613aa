"""Depth Pro: depth in metres and the focal length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

from align3r.io.priors import Kind, PriorMap
from align3r.models.pretrained import load_pretrained
from align3r.mono.network import UNUSED

_CANONICAL_MIN, _CANONICAL_MAX = 1e-4, 1e4
_FOV_MIN, _FOV_MAX = 1.0, 170.0
"""Degrees; no picture is seen under less or more, whatever the network says of a black one."""


class DepthPro:
    """Depth Pro (Bochkovskii et al. 2024)."""

    batch = 1
    kind: Kind = "depth"

    def __init__(
        self, folder: Path, *, name: str, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Load the network from a folder.

        Raises:
            WeightsError: The folder is damaged or holds another network.
            MissingExtraError: `transformers` cannot be imported as it is installed.
        """
        self._network = load_pretrained(
            folder, "DepthProForDepthEstimation", device=device, dtype=dtype, unused=UNUSED
        )
        self._device, self._dtype = device, dtype
        self.name = name
        config = self._network.config
        # The smallest scale of the image is one patch.
        self._side = round(config.patch_size / min(config.scaled_images_ratios))
        # Without the focal length depth has no unit.
        self.is_metric = bool(config.use_fov_model)

    def __call__(self, images: Sequence[np.ndarray]) -> list[PriorMap]:
        """Depth in metres and focal length in pixels, at the size of the images."""
        with torch.inference_mode():
            pixels = torch.cat([self._prepare(image) for image in images])
            answer = self._network(pixel_values=pixels.to(self._dtype))
            depth, focal = in_metres(
                answer.predicted_depth.float(), answer.field_of_view, images[0].shape[:2]
            )
        focals = [None] * len(images) if focal is None else focal.tolist()
        return [PriorMap(values, f) for values, f in zip(depth.cpu().numpy(), focals, strict=True)]

    def _prepare(self, image: np.ndarray) -> torch.Tensor:
        """(H, W, 3) uint8 RGB to the network's (1, 3, side, side) float32."""
        pixels = torch.from_numpy(image).to(self._device).permute(2, 0, 1)[None]
        side = (self._side, self._side)
        return interpolate((pixels / 255 - 0.5) / 0.5, size=side, mode="bilinear")


def in_metres(
    canonical: torch.Tensor, fov_deg: torch.Tensor | None, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Depth of the whole image from what the network says of a camera with the focal length W.

    Args:
        canonical: (B, h, w) inverse depth if the focal length were the width of the image.
        fov_deg: (B,) horizontal field of view; None if the network does not estimate it.
        size: (height, width) of the image.

    Returns:
        (B, height, width) depth and (B,) focal length in pixels.
    """
    focal = None
    if fov_deg is not None:
        half_fov = torch.deg2rad(fov_deg.float().clamp(_FOV_MIN, _FOV_MAX)) / 2
        focal = 0.5 * size[1] / torch.tan(half_fov)
        canonical = canonical * size[1] / focal[:, None, None]
    inverse = interpolate(canonical[:, None], size=size, mode="bilinear")[:, 0]
    return 1 / inverse.clamp(_CANONICAL_MIN, _CANONICAL_MAX), focal
