"""VGGT at work: all frames in one pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from align3r.device import free_device_bytes, free_memory_bytes, to_device, to_host
from align3r.errors import NoRoomError
from align3r.io.storage import Storage
from align3r.models.vggt.network import Vggt
from align3r.models.vggt.scene import see_scene, unprojected
from align3r.pairing.memory import GB, SMALLEST_SIZE
from align3r.pairwise.multiview.predictor import SeenFrames
from align3r.pairwise.predictor import LARGEST
from align3r.types import Frames, Progress

PASS_BYTES = (300, 8000)
"""What VGGT-1B works with in float32, measured: bytes a pixel of every frame, for tokens and maps,
and bytes a pixel of one frame, for the few that are in the dense heads together."""


def pass_bytes(n_frames: int, size: tuple[int, int]) -> int:
    """Memory that the pass takes on its device beside the weights, at the most.

    Args:
        n_frames: Frames.
        size: (width, height) of each.
    """
    every, once = PASS_BYTES
    return size[0] * size[1] * (n_frames * every + once)


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
        every, once = PASS_BYTES
        side = int(max(width, height) * (free / needed) ** 0.5)
        most = int((free / (width * height) - once) / every)
        ways = [f"--input.size {side // 14 * 14}"] if side >= SMALLEST_SIZE else []
        ways += [f"--input.max-frames {most}"] if most >= 2 else []
        ways.append("--model cut3r, which sees one frame after the other")
        raise NoRoomError(
            f"{n} frames of {width}x{height} in one pass need {needed / GB:.1f} GB on "
            f"{self.device}, {free / GB:.1f} GB are free",
            hint=f"use {' or '.join(ways)}",
        )
