"""The pictures of the first page: `python docs/drawings/first_video.py RESULT`.

RESULT is the folder that `align3r reconstruct examples/clip.mp4` wrote. Writes first_video.jpg
(frames with what moves outlined, and their depth) and first_cameras.png (cameras.png, smaller).
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

import align3r

PICTURES = Path(__file__).resolve().parents[1] / "pictures"
FRAMES = (0, 9, 18, 26)
WIDTH = 240
"""Of a frame in the picture, pixels."""
MOVING = (204, 51, 255)
"""Outline, BGR."""


def columns(scene: align3r.Reconstruction, numbers: tuple[int, ...]) -> np.ndarray:
    """Frames above, depth below: one colour means one depth in all of them."""
    inverse = [1 / scene.depth(i) for i in numbers]
    # Without what moves, which is near and whose depth is a guess.
    still = [one[~scene.moving(i)] for one, i in zip(inverse, numbers, strict=True)]
    low, high = np.nanpercentile(np.concatenate(still), (2, 96))
    found = []
    for i, one in zip(numbers, inverse, strict=True):
        image = cv2.cvtColor(scene.image(i), cv2.COLOR_RGB2BGR)
        image = cv2.resize(image, scene.size, interpolation=cv2.INTER_AREA)
        mask = scene.moving(i).astype(np.uint8)
        outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, outlines, -1, MOVING, 2, cv2.LINE_AA)
        level = np.nan_to_num((one - low) / (high - low)).clip(0, 1)
        depth = cv2.applyColorMap(np.rint(255 * level).astype(np.uint8), cv2.COLORMAP_INFERNO)
        both = [cv2.resize(part, _small(scene.size)) for part in (image, depth)]
        found.append(np.vstack(both))
    return np.hstack(found)


def _small(size: tuple[int, int]) -> tuple[int, int]:
    return WIDTH, round(WIDTH * size[1] / size[0])


def main() -> None:
    """Write both."""
    result = Path(sys.argv[1])
    picture = columns(align3r.load(result), FRAMES)
    cv2.imwrite(str(PICTURES / "first_video.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 88])
    plot = cv2.imread(str(result / "cameras.png"))
    height = round(960 * plot.shape[0] / plot.shape[1])
    plot = cv2.resize(plot, (960, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(PICTURES / "first_cameras.png"), plot, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
