"""CUT3R at work: one frame after the other, in the memory that one takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from align3r.device import to_device, to_host
from align3r.io.storage import Storage
from align3r.models.cut3r.network import Cut3r
from align3r.models.cut3r.scene import see_view
from align3r.pairwise.multiview.predictor import SeenFrames
from align3r.types import Frames, Progress


@dataclass(frozen=True)
class Cut3rLook:
    """See one frame after the other."""

    network: Cut3r
    """On its device."""
    device: torch.device

    def __call__(self, frames: Frames, storage: Storage | None, report: Progress) -> SeenFrames:
        """Cameras, points and confidence of all frames; the points are those of their own view."""
        report("frames", 0, len(frames))
        seen = SeenFrames.empty(frames, storage)
        outputs = self.network.stream(self._images(frames), with_points=False)
        for frame, output in enumerate(outputs):
            view = see_view(output)
            seen.world_from_cam[frame] = to_host(view.world_from_cam[0])
            seen.points[frame] = to_host(output.own_points[0])
            seen.confidence[frame] = to_host(view.confidence[0])
            report("frames", frame + 1, len(frames))
        cx, cy = view.k[0, :2, 2].tolist()
        return replace(seen, principal_point=(cx, cy))

    def _images(self, frames: Frames) -> Iterator[Tensor]:
        """(1, 3, h, w) in [-1, 1] each."""
        for image in frames.images:
            on_device = to_device(torch.from_numpy(image), self.device).permute(2, 0, 1)
            yield (on_device[None].float() / 255 - 0.5) / 0.5
