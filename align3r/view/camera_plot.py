"""cameras.png: the camera path from above and from the side, drawn with OpenCV alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from align3r.geometry.cameras import image_corners
from align3r.geometry.triangulate import unproject
from align3r.reconstruction import Reconstruction
from align3r.view.cloud import Cloud
from align3r.view.palette import spread, time_colour, write_png
from align3r.view.sampling import static_cloud, typical_depth

PANEL = 760
MARGIN = 70
HEAD = 80
OVERSAMPLE = 2
INK = (45, 45, 52)
FAINT = (222, 222, 228)
SCALE_WORDS = {
    "relative": "relative scale",
    "prior-metric": "metres, by the depth prior",
    "known-camera": "unit of the given cameras",
}


@dataclass(frozen=True)
class Panel:
    """A square window onto two world axes, in pixels of the oversampled picture."""

    axes: tuple[int, int]
    """World axes shown to the right and upwards."""
    up_sign: float
    """+1 if the upward axis grows upwards in the picture, -1 if downwards (y is down)."""
    centre: np.ndarray
    """(2,) world point in the middle."""
    span: float
    """World length of a side."""
    left: int
    """First pixel column of the window."""
    top: int
    """First pixel row of the window."""

    @property
    def side(self) -> int:
        """Pixels of a side."""
        return (PANEL - 2 * MARGIN) * OVERSAMPLE

    def to_pixels(self, world: np.ndarray) -> np.ndarray:
        """(P, 3) world points to (P, 2) float pixel columns and rows."""
        flat = (world[:, self.axes] - self.centre) / self.span + [0.5, 0.5]
        flat[:, 1] = 0.5 - self.up_sign * (flat[:, 1] - 0.5)
        return np.asarray(flat * self.side + [self.left, self.top])


def write_camera_plot(scene: Reconstruction, path: Path) -> None:
    """Draw the camera path with frusta over the static points, from above and from the side.

    The first camera is blue, the last one orange. Both panels share one scale; the bar and
    the ticks are in scene units.

    Raises:
        OSError: The picture cannot be written.
    """
    cloud = static_cloud(scene, max_points=400_000, min_confidence=1.5, frames=32)
    centres = scene.world_from_cam[:, :3, 3]
    span, middle = _window(centres, cloud, typical_depth(scene))
    size = np.array([PANEL + HEAD, 2 * PANEL]) * OVERSAMPLE
    picture = np.full((*size, 3), 255, np.uint8)
    views = [((0, 2), 1.0, "top view"), ((2, 1), -1.0, "side view")]
    for number, (axes, up_sign, name) in enumerate(views):
        left = (number * PANEL + MARGIN) * OVERSAMPLE
        top = (HEAD + MARGIN // 2) * OVERSAMPLE
        panel = Panel(axes, up_sign, middle[list(axes)], span, left, top)
        _draw_density(picture, panel, cloud)
        _draw_axes(picture, panel, name)
        _draw_path(picture, panel, scene)
        _draw_bar(picture, panel)
    _draw_head(picture, scene)
    half = cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    write_png(half, path)


def _window(centres: np.ndarray, cloud: Cloud, depth: float) -> tuple[float, np.ndarray]:
    """Side length and centre of a cube that shows the whole path and the bulk of the points."""
    low, high = centres.min(axis=0), centres.max(axis=0)
    path = max(float((high - low).max()), 0.05 * depth)
    if len(cloud):
        near, far = np.percentile(cloud.points, [3, 97], axis=0)
        # Far background must not shrink the path to a dot.
        reach = max(6 * path, 1.5 * depth)
        low = np.minimum(low, np.maximum(near, low - reach))
        high = np.maximum(high, np.minimum(far, high + reach))
    span = max(float((high - low).max()), path) * 1.12
    return span, (low + high) / 2


def _draw_density(picture: np.ndarray, panel: Panel, cloud: Cloud) -> None:
    """Paint the points in their own colours, the stronger the more of them fall on a pixel."""
    if not len(cloud):
        return
    cells = panel.side // (2 * OVERSAMPLE)
    xy = (panel.to_pixels(cloud.points) - [panel.left, panel.top]) * cells / panel.side
    inside = np.all((xy >= 0) & (xy < cells), axis=1)
    if not inside.any():
        return
    column, row = xy[inside].astype(int).T
    flat = row * cells + column
    count = np.bincount(flat, minlength=cells * cells).astype(float)
    colour = (
        np.stack([np.bincount(flat, cloud.colours[inside, c], cells * cells) for c in range(3)], -1)
        / np.maximum(count, 1)[:, None]
    )
    strong = np.log1p(count) / np.log1p(max(np.percentile(count[count > 0], 97), 1.0))
    alpha = 0.8 * np.clip(strong, 0, 1)[:, None]
    tile = (255 * (1 - alpha) + colour * alpha).reshape(cells, cells, 3).astype(np.uint8)
    where = slice(panel.top, panel.top + panel.side), slice(panel.left, panel.left + panel.side)
    picture[where] = cv2.resize(tile, (panel.side, panel.side), interpolation=cv2.INTER_NEAREST)


def _draw_axes(picture: np.ndarray, panel: Panel, name: str) -> None:
    """Frame, ticks with numbers, axis names and the name of the panel."""
    right, bottom = panel.left + panel.side, panel.top + panel.side
    step = round_length(panel.span / 5)
    for axis in range(2):
        low = panel.centre[axis] - panel.span / 2
        for k in range(int(np.ceil(low / step)), int(np.floor((low + panel.span) / step)) + 1):
            where = (k * step - low) / panel.span * panel.side
            label = f"{k * step:g}"
            if axis == 0:
                x = int(panel.left + where)
                cv2.line(picture, (x, bottom), (x, bottom + 8), INK, 2)
                _text(picture, label, (x, bottom + 34), centred=True, size=0.8)
            else:
                y = int(bottom - where if panel.up_sign > 0 else panel.top + where)
                cv2.line(picture, (panel.left - 8, y), (panel.left, y), INK, 2)
                _text(picture, label, (panel.left - 48, y + 9), centred=True, size=0.8)
    cv2.rectangle(picture, (panel.left, panel.top), (right, bottom), INK, 2)
    words = {0: "x (right)", 1: "y (down)", 2: "z (forward)"}
    middle = (panel.left + panel.side // 2, bottom + 78)
    _text(picture, words[panel.axes[0]], middle, centred=True)
    _text(picture, f"{name}; vertical: {words[panel.axes[1]]}", (panel.left, panel.top - 22))


def _draw_path(picture: np.ndarray, panel: Panel, scene: Reconstruction) -> None:
    """The path coloured by time, frusta every few frames, first and last camera marked."""
    n = len(scene)
    line = panel.to_pixels(scene.world_from_cam[:, :3, 3])
    for i in range(n - 1):
        colour = time_colour((i + 0.5) / max(n - 1, 1))
        cv2.line(picture, _pixel(line[i]), _pixel(line[i + 1]), colour, 5, cv2.LINE_AA)
    for i in spread(n, 12):
        corners = panel.to_pixels(frustum_corners(scene, int(i), length=panel.span / 16))
        colour = time_colour(i / max(n - 1, 1))
        outline = [corners[[1, 2, 3, 4]], *(corners[[0, c]] for c in range(1, 5))]
        for piece in outline:
            points = piece.round().astype(np.int32)
            cv2.polylines(picture, [points], len(piece) == 4, colour, 2, cv2.LINE_AA)
    for i in (0, n - 1):
        cv2.circle(picture, _pixel(line[i]), 11, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(picture, _pixel(line[i]), 9, time_colour(float(i > 0)), -1, cv2.LINE_AA)


def frustum_corners(scene: Reconstruction, i: int, *, length: float) -> np.ndarray:
    """(5, 3) camera centre and the four image corners at depth `length`, in the world."""
    pose, far = scene.world_from_cam[i], np.full(4, length)
    corners = unproject(image_corners(scene.size), far, scene.intrinsics[i], pose)
    return np.vstack([pose[:3, 3], corners])


def _draw_bar(picture: np.ndarray, panel: Panel) -> None:
    """A scale bar of a round length in the lower right corner."""
    length = round_length(panel.span / 6)
    pixels = int(length / panel.span * panel.side)
    right, y = panel.left + panel.side - 30, panel.top + panel.side - 34
    box = (right - pixels - 18, y - 46), (right + 18, y + 20)
    cv2.rectangle(picture, *box, (255, 255, 255), -1)
    cv2.rectangle(picture, *box, FAINT, 2)
    cv2.line(picture, (right - pixels, y), (right, y), INK, 6)
    _text(picture, f"{length:g}", (right - pixels // 2, y - 14), centred=True, size=0.8)


def _draw_head(picture: np.ndarray, scene: Reconstruction) -> None:
    """Title: frames, path length and unit, and what the two colours mean."""
    steps = np.linalg.norm(np.diff(scene.world_from_cam[:, :3, 3], axis=0), axis=1)
    words = f"{len(scene)} cameras, path {steps.sum():.3g} ({SCALE_WORDS[scene.scale]})"
    x, y = MARGIN * OVERSAMPLE, 66
    _text(picture, words, (x, y), size=1.15, weight=3)
    for name, end in (("start", 0.0), ("end", 1.0)):
        cv2.circle(picture, (x + 10, y + 42), 10, time_colour(end), -1, cv2.LINE_AA)
        _text(picture, name, (x + 32, y + 52), size=0.85)
        x += 170


def _text(
    picture: np.ndarray,
    words: str,
    at: tuple[int, int],
    *,
    centred: bool = False,
    size: float = 0.95,
    weight: int = 2,
) -> None:
    """Write words with their baseline at `at`, starting or centred there."""
    font = cv2.FONT_HERSHEY_SIMPLEX
    if centred:
        at = (at[0] - cv2.getTextSize(words, font, size, weight)[0][0] // 2, at[1])
    cv2.putText(picture, words, at, font, size, INK, weight, cv2.LINE_AA)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    """A float pixel as the integers that OpenCV draws at."""
    return round(float(point[0])), round(float(point[1]))


def round_length(length: float) -> float:
    """The largest of 1, 2 or 5 times a power of ten that is not above `length`."""
    power = 10.0 ** np.floor(np.log10(length))
    return float(max(m * power for m in (1, 2, 5) if m * power <= length * (1 + 1e-9)))
