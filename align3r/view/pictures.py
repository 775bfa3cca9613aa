"""Pictures of a result for people who would rather look: depth.mp4, overlays, contact sheet."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from align3r.io.video_writer import open_video
from align3r.reconstruction import Reconstruction
from align3r.view.camera_plot import write_camera_plot as write_camera_plot
from align3r.view.palette import (
    MOVING_RGB,
    DepthRange,
    depth_picture,
    depth_range,
    spread,
    turbo,
    write_png,
)

__all__ = [
    "contact_sheet",
    "depth_frame",
    "depth_picture",
    "depth_range",
    "mask_overlay",
    "write_camera_plot",
    "write_depth_video",
]


def write_depth_video(scene: Reconstruction, path: Path, *, long_side: int = 640) -> None:
    """Write depth.mp4: the image on the left, its depth on the right, moving regions outlined.

    One range of inverse depth holds for all frames, so the same depth has the same colour from
    the first frame to the last; unknown depth is dark. Every frame is shown for the same time
    (the median of the real time steps). H.264 through ffmpeg where ffmpeg with libx264 is on
    the PATH; otherwise MPEG-4 part 2 through OpenCV, which not every browser plays.

    Args:
        scene: The reconstruction.
        path: File to write.
        long_side: Longest side of each half, in pixels; halves have even sides.

    Raises:
        InputError: The video cannot be written.
    """
    size = panel_size(scene.size, long_side)
    span = depth_range(scene)
    steps = np.diff(scene.times)
    fps = float(np.clip(1.0 / np.median(steps), 1.0, 60.0)) if len(steps) else 1.0
    with open_video(path, size=(2 * size[0], size[1]), fps=fps) as write:
        for i in range(len(scene)):
            write(depth_frame(scene, i, span=span, size=size))


def depth_frame(
    scene: Reconstruction, i: int, *, span: DepthRange, size: tuple[int, int]
) -> np.ndarray:
    """(h, 2 w, 3) uint8: image and depth of frame i side by side, each of `size` (w, h)."""
    # Nearest for depth: blending two depths would paint colours that nothing has.
    depth = cv2.resize(scene.depth(i), size, interpolation=cv2.INTER_NEAREST)
    image = cv2.resize(scene.image(i), size, interpolation=cv2.INTER_AREA)
    mask = cv2.resize(scene.moving(i).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    right = depth_picture(depth, span)
    return np.concatenate([outline(image, mask), outline(right, mask, (255, 255, 255))], axis=1)


def outline(
    picture: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int] = MOVING_RGB
) -> np.ndarray:
    """A copy of an RGB picture with the border of the mask drawn on it."""
    rings, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    drawn = np.ascontiguousarray(picture).copy()
    cv2.drawContours(drawn, rings, -1, colour, 2, cv2.LINE_AA)
    return drawn


def mask_overlay(scene: Reconstruction, i: int) -> np.ndarray:
    """(h, w, 3) uint8: frame i at the working size with its moving regions tinted and outlined."""
    image = scene.image(i)
    size = image.shape[1], image.shape[0]
    mask = cv2.resize(scene.moving(i).astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    tinted = np.where(mask[..., None] > 0, 0.55 * image + 0.45 * np.array(MOVING_RGB), image)
    return outline(tinted.astype(np.uint8), mask)


def contact_sheet(
    scene: Reconstruction, path: Path, *, frames: int = 6, long_side: int = 320
) -> None:
    """Write a picture of a few frames: image with moving regions, depth, confidence below.

    Raises:
        OSError: The picture cannot be written.
    """
    size = panel_size(scene.size, long_side)
    span = depth_range(scene)
    columns = []
    for i in spread(len(scene), frames):
        overlay = cv2.resize(mask_overlay(scene, int(i)), size, interpolation=cv2.INTER_AREA)
        cv2.putText(overlay, str(i), (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 4, 16)
        cv2.putText(overlay, str(i), (8, 24), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255,) * 3, 1, 16)
        depth = cv2.resize(scene.depth(int(i)), size, interpolation=cv2.INTER_NEAREST)
        sure = cv2.resize(scene.confidence(int(i)), size, interpolation=cv2.INTER_NEAREST)
        # Confidence 1 has no say; ln 10 is where more of it hardly matters to the eye.
        heat = turbo(np.log(np.maximum(sure, 1.0)) / np.log(10.0))
        columns.append(np.concatenate([overlay, depth_picture(depth, span), heat]))
    write_png(np.concatenate(columns, axis=1), path)


def panel_size(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(width, height), both even, of the same shape as `size` and at most `long_side` long."""
    scale = min(1.0, long_side / max(size))
    return max(2, 2 * round(size[0] * scale / 2)), max(2, 2 * round(size[1] * scale / 2))
