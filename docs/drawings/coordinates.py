"""Draw the conventions: `python docs/drawings/coordinates.py` writes docs/pictures/coordinates.svg.

Every place on the page is a place in space, in OpenCV axes, put there by one oblique projection;
what the drawing says of depth and of pixels is computed, not placed by eye.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

OUT = Path(__file__).resolve().parents[1] / "pictures" / "coordinates.svg"
RED, GREEN, BLUE, INK, PALE, SEEN = "#d1242f", "#1a7f37", "#0969da", "#24292f", "#8c959f", "#bf5700"
AXES = (("x", "right", RED), ("y", "down", GREEN), ("z", "forward", BLUE))
Place = Sequence[float] | np.ndarray


class Page:
    """Pieces of an SVG, drawn from places in space that start at `origin` on the page."""

    def __init__(self, origin: tuple[float, float], scale: float = 62.0) -> None:
        self.origin, self.scale = np.array(origin), scale
        self.pieces: list[str] = []

    def at(self, place: Place) -> np.ndarray:
        """Where a place is on the page: x to the right, y down, z to the right and up."""
        x, y, z = np.asarray(place, float)
        return self.origin + self.scale * np.array([x + 0.62 * z, y - 0.30 * z])

    def line(self, a: Place, b: Place, colour: str, *, width: float = 2.0, dash: str = "") -> None:
        """A line between two places."""
        (x1, y1), (x2, y2) = self.at(a), self.at(b)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.pieces.append(
            f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
            f'stroke="{colour}" stroke-width="{width}" stroke-linecap="round"{dashed}/>'
        )

    def arrow(self, a: Place, b: Place, colour: str, *, width: float = 2.4) -> None:
        """A line with a head at b."""
        start, end = self.at(a), self.at(b)
        ahead = (end - start) / np.linalg.norm(end - start)
        aside = np.array([-ahead[1], ahead[0]])
        corners = [end, end - 9 * ahead + 4 * aside, end - 9 * ahead - 4 * aside]
        self.line(a, b, colour, width=width)
        self.pieces.append(f'<polygon points="{_points(corners)}" fill="{colour}"/>')

    def dot(self, place: Place, colour: str) -> None:
        """A small disc."""
        x, y = self.at(place)
        self.pieces.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')

    def area(self, corners: Sequence[Place], colour: str) -> None:
        """A see-through polygon with an outline."""
        points = _points([self.at(corner) for corner in corners])
        self.pieces.append(
            f'<polygon points="{points}" fill="{colour}" fill-opacity="0.10" stroke="{colour}"/>'
        )

    def words(
        self, place: Place, text: str, colour: str = INK, *, by: tuple[float, float] = (0, 0)
    ) -> None:
        """Text that begins `by` page units from a place."""
        x, y = self.at(place) + by
        self.pieces.append(f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{text}</text>')


def _points(corners: Sequence[np.ndarray]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)


def _turned(yaw_deg: float, place: Place) -> np.ndarray:
    """Pose of a camera at a place that has turned about its y axis (positive: to the right)."""
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    pose = np.eye(4)
    pose[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
    pose[:3, 3] = place
    return pose


def _in_world(world_from_cam: np.ndarray, place: Place) -> np.ndarray:
    return world_from_cam[:3, :3] @ np.asarray(place, float) + world_from_cam[:3, 3]


def _camera(page: Page, world_from_cam: np.ndarray, *, named: bool) -> None:
    """A frustum with the three axes of the camera."""
    corners = [(-0.62, -0.42, 1), (0.62, -0.42, 1), (0.62, 0.42, 1), (-0.62, 0.42, 1)]
    centre = _in_world(world_from_cam, (0, 0, 0))
    placed = [_in_world(world_from_cam, corner) for corner in corners]
    page.area(placed, INK)
    for corner in placed:
        page.line(centre, corner, PALE, width=1.2)
    for axis, (name, meaning, colour) in enumerate(AXES):
        tip = _in_world(world_from_cam, np.eye(3)[axis] * (1.0, 0.95, 1.55)[axis])
        page.arrow(centre, tip, colour)
        by = ((7, 5), (-4, 17), (6, -4))[axis]
        page.words(tip, f"{name} {meaning}" if named else name, colour, by=by)
    page.dot(centre, INK)


def space() -> list[str]:
    """Two cameras, a point, and which of its distances is its depth."""
    page = Page((100, 130), 95.0)
    first, second = np.eye(4), _turned(-8, (4.0, 0.45, 0))
    _camera(page, first, named=True)
    _camera(page, second, named=False)
    in_camera = np.array([1.15, 0.5, 3.1])
    seen, foot = _in_world(second, in_camera), _in_world(second, (0, 0, in_camera[2]))
    centre = _in_world(second, (0, 0, 0))
    page.line(centre, foot, SEEN, width=3)
    page.line(foot, seen, PALE, dash="3 5")
    page.line(centre, seen, PALE, dash="3 5")
    page.dot(seen, SEEN)
    page.words((0, 0, 0), "camera 0 = world", by=(-70, -72))
    page.words(centre, "camera i", by=(-80, 24))
    page.words(seen, "X", SEEN, by=(9, 5))
    page.words(foot, "depth: z of X in camera i", SEEN, by=(-96, -10))
    page.words((centre + seen) / 2, "ray length (not the depth)", PALE, by=(40, 22))
    page.arrow((3.75, 0.75, 0), (0.45, 0.42, 0), INK)
    page.words((1.0, 0.75, 0), "world_from_cam[i]", by=(12, 12))
    page.words((1.0, 0.75, 0), "X in world = R · X in camera + t", PALE, by=(12, 31))
    return page.pieces


def pixels() -> list[str]:
    """The top-left corner of an image: where (0, 0) is, here and in COLMAP."""
    page, side = Page((84, 380)), 0.95
    corner = np.zeros(3)
    for k in range(4):
        page.line((k * side, 0, 0), (k * side, 2 * side, 0), PALE, width=1.2)
        if k < 3:
            page.line((0, k * side, 0), (3 * side, k * side, 0), PALE, width=1.2)
    page.area([(0, 0, 0), (3 * side, 0, 0), (3 * side, 2 * side, 0), (0, 2 * side, 0)], PALE)
    for row in range(2):
        for column in range(3):
            centre = np.array([(column + 0.5) * side, (row + 0.5) * side, 0])
            page.dot(centre, INK)
            page.words(centre, f"({column}, {row})", by=(-15, 19))
    page.dot(corner, RED)
    page.arrow((0, -0.30, 0), (1.2, -0.30, 0), RED)
    page.words((1.2, -0.30, 0), "u, column", RED, by=(7, 5))
    page.arrow((-0.30, 0, 0), (-0.30, 1.2, 0), GREEN)
    page.words((-0.30, 1.2, 0), "v, row", GREEN, by=(-40, 18))
    page.words((0, 2 * side, 0), "(0, 0) is the centre of the top-left pixel.", by=(-6, 26))
    page.words((0, 2 * side, 0), "COLMAP, nerfstudio: its corner (red),", by=(-6, 45))
    page.words((0, 2 * side, 0), "so c + 0.5 is written there.", by=(-6, 63))
    return page.pieces


def flips() -> list[str]:
    """The axes of a camera in OpenCV and in OpenGL programs."""
    between = Page((535, 375))
    between.words((0, 0, 0), "pose × diag(1, −1, −1, 1)", by=(-24, -12))
    between.arrow((0, 0, 0), (1.75, 0, 0), INK)
    pieces = between.pieces
    for first, second, axes, left, way in (
        ("OpenCV: align3r, COLMAP,", "MegaSaM, ViPE, rerun", np.diag([1, 1, 1]), 440, "+z"),
        ("OpenGL: nerfstudio, glTF,", "Blender", np.diag([1, -1, -1]), 680, "−z"),
    ):
        page = Page((left, 470))
        page.line((0, 0, 0), (0, 0, 1.9), PALE, width=1.2, dash="2 5")
        page.words((0, 0, 1.9), f"looks: {way}", PALE, by=(4, 0))
        for axis, (name, _, colour) in enumerate(AXES):
            tip = axes[:, axis] * (0.95, 0.8, 1.15)[axis]
            page.arrow((0, 0, 0), tip, colour)
            page.words(tip, name, colour, by=((7, 4), (7, 4), (-4, -7))[axis])
        page.dot((0, 0, 0), INK)
        page.words((0, 0, 0), first, by=(-60, 84))
        page.words((0, 0, 0), second, by=(-60, 102))
        pieces += page.pieces
    return pieces


def drawing() -> str:
    """The whole SVG, on a light ground of its own, so that it can be read on a dark page."""
    parts = [*space(), *pixels(), *flips()]
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 590" '
            'font-family="Helvetica, Arial, sans-serif" font-size="14">',
            "<title>Conventions of align3r: cameras, depth, pixels, axes</title>",
            '<rect width="860" height="590" rx="6" fill="#ffffff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def main() -> None:
    """Write the file."""
    OUT.write_text(drawing(), encoding="utf-8")
    sys.stdout.write(f"{OUT}\n")


if __name__ == "__main__":
    main()
