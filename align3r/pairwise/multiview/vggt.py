"""VGGT at work: all frames in one pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from align3r.device import free_device_bytes, free_memory_bytes, to_device, to_host
from align3r.errors import NoRoomError
from align3r.io.storage import Storage
from align3r.models.vggt.network import Vggt
from align3r.models.vggt.scene import see_scene, unprojected
from align3r.pairwise.multiview.predictor import LARGEST, SeenFrames
from align3r.types import Frames, Progress

PASS_BYTES = 600
"""A pixel of VGGT-1B takes so much memory during the pass, in float32: tokens of all levels, what a
block is working on, and the maps. Measured; see tests. Less in half precision."""
GB = 1e9


def pass_bytes(n_frames: int, size: tuple[int, int]) -> int:
    """Memory that the pass takes on its device beside the weights, at the most.

    Args:
        n_frames: Frames.
        size: (width, height) of each.
    """
    return n_frames * size[0] * size[1] * PASS_BYTES


@dataclass(frozen=True)
class VggtLook:
    """See all frames at once."""

    network: Vggt
    """On its device."""
    device: torch.device

    def __call__(self, frames: Frames, storage: Storage | None, report: Progress) -> SeenFrames:
        """Cameras, points and confidence of all frames.

        The network sees square pixels, whatever a frame was stretched by; of its two focal lengths,
        which differ by no more than its error, the horizontal one makes the points.

        Raises:
            NoRoomError: The frames do not fit the memory of the device.
        """
        self._check_room(frames)
        report("frames", 0, len(frames))
        images = torch.from_numpy(frames.images).permute(0, 3, 1, 2)
        scene = see_scene(self.network, to_device(images, self.device)[None].float() / 255)
        k = scene.k[0].clone()
        k[:, 1, 1] = k[:, 0, 0]
        seen = SeenFrames.empty(frames, storage)
        seen.world_from_cam[:] = to_host(scene.world_from_cam[0])
        seen.confidence[:] = to_host(scene.confidence[0])
        for frame, depth in enumerate(scene.depth[0].clamp(max=LARGEST)):
            seen.points[frame] = to_host(unprojected(depth, k[frame]))
            report("frames", frame + 1, len(frames))
        cx, cy = k[0, :2, 2].tolist()
        return replace(seen, principal_point=(cx, cy))

    def _check_room(self, frames: Frames) -> None:
        """Refuse what does not fit, before anything is computed."""
        free = free_device_bytes(self.device)
        free = free_memory_bytes() if free is None else free
        n, (width, height) = len(frames), frames.size
        needed = pass_bytes(n, frames.size)
        if needed <= free:
            return
        side = int(max(width, height) * (free / needed) ** 0.5)
        ways = [f"--input.size {side}"] if side >= 112 else []
        most = n * free // needed
        ways += [f"--input.max-frames {most}"] if most >= 2 else []
        raise NoRoomError(
            f"{n} frames of {width}x{height} in one pass need {needed / GB:.1f} GB on "
            f"{self.device}, {free / GB:.1f} GB are free",
            hint=" or ".join([*ways, "--model cut3r, which looks at one frame after the other"]),
        )
