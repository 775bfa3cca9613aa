"""The example clip: a camera in the room, what it films, and what is true about it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from align3r.datasets.rendered.poses import intrinsics, look
from align3r.datasets.rendered.raycast import pixel_centres, rays_through, trace
from align3r.datasets.rendered.room import build_room
from align3r.datasets.rendered.shading import moves, smoothed

DEPTH_STRIDE = 3


@dataclass(frozen=True)
class Clip:
    """Rendered frames and what is true about them."""

    images: np.ndarray
    """(N, h, w, 3) uint8 RGB."""
    depth: np.ndarray
    """(N, h, w) float32 z-depth, metres."""
    moving: np.ndarray
    """(N, h, w) bool."""
    world_from_cam: np.ndarray
    """(N, 4, 4); camera 0 is the identity."""
    k: np.ndarray
    """(3, 3) pixels; the centre of the top-left pixel is (0, 0)."""
    times: np.ndarray
    """(N,) seconds."""


def walk(s: float, t: float) -> np.ndarray:
    """Sideways and forward by about 1.5 m, with the sway of a hand."""
    sway = [np.sin(3.1 * t + 0.4), np.sin(4.3 * t + 1.9), np.sin(2.3 * t + 3.0)]
    place = np.array([-0.70 + 1.15 * s, 0.02 - 0.10 * s, -1.25 + 0.75 * s + 0.15 * s**2])
    gaze = np.array([-0.15 + 0.45 * s, 0.22, 2.9])
    target = gaze + 0.05 * np.array([sway[1], sway[2], 0.0])
    return look(place + 0.018 * np.array(sway), target, 0.012 * sway[0])


def rotate(s: float, _t: float) -> np.ndarray:
    """A tripod: the camera turns by 30 degrees about its own centre."""
    yaw = np.radians(-15.0 + 30.0 * s)
    place = np.array([-0.2, 0.0, -1.0])
    ahead = np.array([np.sin(yaw), 0.06 + 0.04 * s, np.cos(yaw)])
    return look(place, place + ahead, 0.0)


# Kind of clip -> pose in the room at (part of the clip 0..1, seconds).
CAMERAS: dict[str, Callable[[float, float], np.ndarray]] = {
    "walk": walk,
    "static": lambda _s, _t: walk(0.4, 0.0),
    "rotate": rotate,
    "black": walk,
}


def render(
    kind: str = "walk",
    *,
    n_frames: int = 36,
    size: tuple[int, int] = (384, 288),
    fps: float = 12.0,
    seconds: float = 3.0,
    smooth: int = 2,
    moving: bool = True,
) -> Clip:
    """Render a clip.

    Args:
        kind: One of CAMERAS; `black` is a walk with the lights off.
        n_frames: Frames.
        size: (width, height), pixels.
        fps: Frames a second: what the objects do between two frames.
        seconds: Time in which the camera finishes its path.
        smooth: Rays a pixel and side for the colour; depth and mask are those of the centre.
        moving: Put the figure and the ball into the room.
    """
    scene, k, (w, h) = build_room(moving=moving), intrinsics(size), size
    times = np.arange(n_frames) / fps
    poses = np.stack([CAMERAS[kind](min(t / seconds, 1.0), t) for t in times])
    images, depths, masks = [], [], []
    for pose, t in zip(poses, times, strict=True):
        seen = trace(scene, pose, rays_through(pixel_centres(size), k), t=t)
        colour = smoothed(scene, pose, k, size=size, t=t, rays=smooth)
        images.append(np.rint(255 * colour * (kind != "black")).astype(np.uint8))
        depths.append(seen.depth.reshape(h, w).astype(np.float32))
        masks.append(moves(scene, seen).reshape(h, w))
    cam0_from_room = np.linalg.inv(poses[0])
    return Clip(
        np.stack(images), np.stack(depths), np.stack(masks), cam0_from_room @ poses, k, times
    )


def write_video(images: np.ndarray, path: Path, *, fps: float, crf: int = 17) -> None:
    """H.264 by ffmpeg if it is there, MPEG-4 by OpenCV if not.

    Args:
        images: (N, h, w, 3) uint8 RGB.
        path: An .mp4 file.
        fps: Frames a second.
        crf: Quality of H.264; smaller is better and larger in bytes.
    """
    h, w = images.shape[1:3]
    if shutil.which("ffmpeg"):
        raw = f"-f rawvideo -pix_fmt rgb24 -s {w}x{h} -r {fps} -i -".split()
        code = f"-c:v libx264 -preset slow -crf {crf} -pix_fmt yuv420p".split()
        command = ["ffmpeg", "-y", "-loglevel", "error", *raw, *code, str(path)]
        subprocess.run(command, input=images.tobytes(), check=True)
        return
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), fps, (w, h))
    for image in images:
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()


def write_truth(clip: Clip, path: Path) -> None:
    """Keys: world_from_cam, K, time, depth (float16, every DEPTH_STRIDE-th pixel from pixel 0 on),
    depth_stride, moving (packed bits), size (width, height).
    """
    n, h, w = clip.depth.shape
    np.savez_compressed(
        path,
        world_from_cam=clip.world_from_cam,
        K=np.broadcast_to(clip.k, (n, 3, 3)),
        time=clip.times,
        depth=clip.depth[:, ::DEPTH_STRIDE, ::DEPTH_STRIDE].astype(np.float16),
        depth_stride=DEPTH_STRIDE,
        moving=np.packbits(clip.moving),
        size=np.array([w, h]),
    )
