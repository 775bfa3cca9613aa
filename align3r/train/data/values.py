"""The values that flow from a data set to a network: frames as read, views as cropped, batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from align3r.errors import InputError


class UnfitFrameError(InputError):
    """A frame that nothing can be learned from; another sample may take its place."""


@dataclass(frozen=True)
class SourceView:
    """One frame at its source size, as read.

    Attributes:
        name: data set, sequence and file: the same frame has always the same name.
        image: (H, W, 3) uint8 RGB.
        depth: (H, W) float32 true z-depth, nan where unknown; None where there is no truth.
        intrinsics: (3, 3) float64, the centre of the top-left pixel is (0, 0).
        world_from_cam: (4, 4) float64.
        label: (H, W) float32 z-depth of a teacher, nan where it knows nothing.
        prior: (H, W) raw values of a monocular network (disparity or depth).
    """

    name: str
    image: np.ndarray
    depth: np.ndarray | None
    intrinsics: np.ndarray | None
    world_from_cam: np.ndarray | None
    label: np.ndarray | None = None
    prior: np.ndarray | None = None

    @property
    def has_depth(self) -> bool:
        """Whether the true depth of any pixel is known."""
        return self.depth is not None and bool((self.depth > 0).any())

    @property
    def has_points(self) -> bool:
        """Whether it is known where in the world any pixel is: depth, intrinsics and pose."""
        camera = self.intrinsics, self.world_from_cam
        return self.has_depth and all(x is not None and np.isfinite(x).all() for x in camera)


@dataclass(frozen=True)
class View:
    """One frame at the training size; nan wherever something is unknown.

    Attributes:
        name: as of the source view.
        image: (h, w, 3) uint8 RGB.
        depth: (h, w) float32 true z-depth.
        intrinsics: (3, 3) float64 of the cropped image.
        world_from_cam: (4, 4) float64.
        label: (h, w) float32 z-depth of a teacher.
        point_map: (h, w, 3) float32 as Align3R's branch wants it; None without a prior.
    """

    name: str
    image: np.ndarray
    depth: np.ndarray
    intrinsics: np.ndarray
    world_from_cam: np.ndarray
    label: np.ndarray
    point_map: np.ndarray | None = None


@dataclass(frozen=True)
class Sample:
    """Views that a network sees together.

    Attributes:
        views: at least one, all of one size.
        is_multi_view: several frames of one world, all with depth, intrinsics and pose.
    """

    views: tuple[View, ...]
    is_multi_view: bool


@dataclass(frozen=True)
class Batch:
    """B samples of S views of one size, as tensors; nan wherever something is unknown.

    Attributes:
        images: (B, S, 3, H, W) float32 in [0, 1].
        depth: (B, S, H, W) float32 true z-depth.
        label: (B, S, H, W) float32 z-depth of a teacher.
        intrinsics: (B, S, 3, 3) float32.
        world_from_cam: (B, S, 4, 4) float32.
        point_maps: (B, S, H, W, 3) float32, or None where no view has one.
        is_multi_view: (B,) bool.
        names: B times S names of frames.
        weight: share of the views of its optimiser step that are in this batch. Batches of a step
            differ in size; the weights of all of them, in all processes, sum to 1, so that means
            over the images of each batch become one over all images.
        left_out: what could not be read and gave way to other samples, a sentence each.
    """

    images: Tensor
    depth: Tensor
    label: Tensor
    intrinsics: Tensor
    world_from_cam: Tensor
    point_maps: Tensor | None
    is_multi_view: Tensor
    names: tuple[tuple[str, ...], ...]
    weight: float = 1.0
    left_out: tuple[str, ...] = ()

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        return self._changed(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, which torch's loader asks for by this name."""
        return self._changed(Tensor.pin_memory)

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            images=change(self.images),
            depth=change(self.depth),
            label=change(self.label),
            intrinsics=change(self.intrinsics),
            world_from_cam=change(self.world_from_cam),
            point_maps=None if self.point_maps is None else change(self.point_maps),
            is_multi_view=change(self.is_multi_view),
        )
