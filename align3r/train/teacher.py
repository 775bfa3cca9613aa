"""Who teaches: monocular networks that tell depth, and where they know none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from align3r.device import resolve_precision
from align3r.errors import UsageError, WeightsError
from align3r.geometry.cameras import image_centre, intrinsic_matrix
from align3r.models.moge.estimate import estimate
from align3r.models.moge.loading import load_moge
from align3r.models.moge.parts import Moge
from align3r.models.moge.version2 import Moge2
from align3r.models.weights import locate
from align3r.mono.network import DepthNetwork
from align3r.mono.registry import DEPTH_NETWORKS
from align3r.train.frame_cache import weights_digest
from align3r.train.options import TeacherOptions

_MOGE_IS_METRIC = {"moge": False, "moge2": True}


@dataclass(frozen=True)
class Label:
    """What a teacher says of an image."""

    depth: np.ndarray
    """(h, w) float32 z-depth, nan where the teacher knows none; the whole image, at any size."""
    intrinsics: np.ndarray | None
    """(3, 3) float64 in pixels of the image; None if the teacher knows of no camera."""


class Teacher(Protocol):
    """Labels images."""

    def __call__(self, image: np.ndarray) -> Label:
        """The label of an (H, W, 3) uint8 RGB image, of its size."""


@dataclass(frozen=True)
class MogeTeacher:
    """MoGe or MoGe-2, with the shift along z that makes its points a perspective view."""

    network: Moge
    """On its device."""
    device: torch.device
    tokens: int | None = None
    """Patches that it looks at; None: as many as it was trained with at most."""

    def __call__(self, image: np.ndarray) -> Label:
        """Depth where the mask says so, in metres from MoGe-2; the camera that explains it."""
        pixels = torch.tensor(image).to(self.device).permute(2, 0, 1)[None] / 255
        found = estimate(self.network, pixels, tokens=self.tokens, reprojects=False)
        depth = torch.where(found.mask, found.depth, torch.nan)[0].float().cpu().numpy()
        k = found.intrinsics[0].cpu().double().numpy()
        # Negative: only a mirrored view would explain the points.
        has_camera = bool(k[0, 0] > 0)
        return Label(depth, _in_pixels(k, image.shape) if has_camera else None)


@dataclass(frozen=True)
class DepthTeacher:
    """Any network for depth, which has no mask: only what is no depth at all is left out."""

    network: DepthNetwork

    def __call__(self, image: np.ndarray) -> Label:
        """Depth, and a camera if the network tells the focal length."""
        (found,) = self.network([image])
        values = np.asarray(found.values, np.float32)
        depth = np.where(np.isfinite(values) & (values > 0), values, np.nan).astype(np.float32)
        if found.focal is None:
            return Label(depth, None)
        height, width = depth.shape
        return Label(depth, intrinsic_matrix(found.focal, image_centre((width, height))))


def make_teacher(options: TeacherOptions, *, device: torch.device) -> Teacher:
    """Find, fetch if need be, and load a teacher.

    Args:
        options: Of a teacher that is a network, so not `truth`.
        device: Where it shall compute.

    Raises:
        UsageError: It is no network, or has no tokens to be counted.
        WeightsError: The weights cannot be had, are damaged, or are another network's.
        MissingExtraError: A library that it needs cannot be imported.
    """
    name, dtype = options.model, resolve_precision(options.precision, device)
    path = locate(options.weights or name)
    if name in _MOGE_IS_METRIC:
        network = load_moge(path, dtype=dtype)
        if isinstance(network, Moge2) != _MOGE_IS_METRIC[name]:
            held = "MoGe-2" if isinstance(network, Moge2) else "MoGe"
            raise WeightsError(
                f"{path} holds a {held}, and the teacher is {name}",
                hint="choose the --teacher.model that the weights are of",
            )
        return MogeTeacher(network.to(device), device, options.tokens)
    if options.tokens is not None or name not in DEPTH_NETWORKS:
        raise UsageError(
            f"the teacher {name} does not look at a number of tokens that is chosen"
            if name in DEPTH_NETWORKS
            else f"the teacher {name} is no network",
            hint="leave out --teacher.tokens, or choose --teacher.model moge",
        )
    return DepthTeacher(DEPTH_NETWORKS[name](path, name=name, device=device, dtype=dtype))


def teacher_id(options: TeacherOptions, *, device: torch.device) -> str:
    """All that decides what a teacher says: its name, weights, tokens and precision.

    Raises:
        WeightsError: The weights cannot be had.
        InputError: They cannot be read.
    """
    digest = weights_digest(locate(options.weights or options.model))
    precision = str(resolve_precision(options.precision, device)).removeprefix("torch.")
    return f"{options.model} {digest} tokens={options.tokens} {precision}"


def _in_pixels(k: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(3, 3) intrinsics in pixels, their centres at whole numbers, from those by width and height.

    Args:
        k: By the width and height of the image, whose corner is (0, 0).
        shape: Height and width.
    """
    height, width = shape[:2]
    scaled: np.ndarray = k * np.array([[width], [height], [1.0]])
    scaled[:2, 2] -= 0.5
    return scaled
