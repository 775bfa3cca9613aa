"""Draw what an uncertain scale does: `python docs/drawings/scale_uncertainty.py` writes
docs/pictures/scale_uncertainty.png.

Four trees of one size in the second image, at four depths before a wall. The scale of the scene is
off by d ~ N(0, 0.05^2), so the second camera sees everything somewhere else for every d. What is
drawn is computed by `align3r.train.scale_uncertainty`: nothing is blurred by a filter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm
from scipy.stats import norm

from align3r.train.scale_uncertainty import image_shift, image_spread

OUT = Path(__file__).resolve().parents[1] / "pictures" / "scale_uncertainty.png"
WIDTH, HEIGHT, FOCAL = 480, 130, 500.0
TRANSLATION = np.array([0.3, 0.0, 0.0])
SIGMA, DRAWS = 0.05, 201
DEPTHS, WALL = (1.0, 2.0, 4.0, 8.0), 16.0
LOST = 0.1
"""A pixel is lost whose depth is off by more than this share."""


@dataclass(frozen=True)
class Tree:
    """A crown on a trunk, upright before the camera; places in pixels of the second image."""

    u: float
    depth: float

    def covers(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Whether it is seen at (u, v)."""
        crown = np.hypot(u - self.u, v - 48) < 34
        return crown | ((np.abs(u - self.u) < 6) & (v > 48) & (v < 122))

    def shift(self, delta: np.ndarray | float) -> np.ndarray:
        """By how many pixels it is elsewhere when the scale is off by delta."""
        return image_shift(self.point(), TRANSLATION, FOCAL, delta)[..., 0]

    def point(self) -> np.ndarray:
        """Its middle, in the second camera."""
        return self.depth * np.array([(self.u - WIDTH / 2) / FOCAL, 0.0, 1.0])


TREES = [Tree(60.0 + 120 * k, depth) for k, depth in enumerate(DEPTHS)]
V, U = np.mgrid[:HEIGHT, :WIDTH].astype(float)


def seen(delta: float) -> np.ndarray:
    """Depth in the second image for one scale, in units of that scale, as a loss compares it."""
    depth = np.full((HEIGHT, WIDTH), WALL)
    for tree in sorted(TREES, key=lambda tree: -tree.depth):
        depth[tree.covers(U - tree.shift(delta), V)] = tree.depth
    return depth


def deltas() -> np.ndarray:
    """Equally likely errors of the scale."""
    return norm.ppf((np.arange(DRAWS) + 0.5) / DRAWS) * SIGMA


@cache
def average() -> np.ndarray:
    """The mean of what is seen over all errors of the scale."""
    return np.mean([seen(delta) for delta in deltas()], axis=0)


def lost(mean: np.ndarray, truth: np.ndarray, tree: Tree) -> tuple[float, float]:
    """Pixels lost of a tree and of the wall around it, as shares of the pixels of the tree."""
    off = np.abs(mean - truth) > LOST * truth
    here = np.abs(U - tree.u) < 60
    size = (truth == tree.depth).sum()
    return tuple((off & here & (truth == depth)).sum() / size for depth in (tree.depth, WALL))


def draw() -> plt.Figure:
    """The whole picture."""
    truth, mean = seen(0.0), average()
    figure = plt.figure(figsize=(8.2, 7.4), dpi=110, layout="constrained")
    rows = figure.add_gridspec(3, 2, height_ratios=(1.15, 1.15, 1.3))
    told = ("depth in the second image", "its mean over all scales that the scene may have")
    for row, (values, title) in enumerate(zip((truth, mean), told, strict=True)):
        axes = figure.add_subplot(rows[row, :])
        shown = axes.imshow(values, cmap="viridis_r", norm=LogNorm(min(DEPTHS), WALL))
        axes.set_title(title, loc="left", fontsize=11)
        axes.set_xticks([tree.u for tree in TREES], [f"depth {d:g}" for d in DEPTHS])
        axes.set_yticks([])
        bar = figure.colorbar(shown, ax=axes, pad=0.01, ticks=[*DEPTHS, WALL])
        bar.ax.set_yticklabels([f"{d:g}" for d in (*DEPTHS, WALL)])
        bar.ax.minorticks_off()
    _spread(figure.add_subplot(rows[2, 0]))
    _losses(figure.add_subplot(rows[2, 1]), [lost(mean, truth, tree) for tree in TREES])
    return figure


def _spread(axes: plt.Axes) -> None:
    depth = np.geomspace(0.8, WALL, 50)
    points = depth[:, None] * np.array([0.0, 0.0, 1.0])
    line = image_spread(points, TRANSLATION, FOCAL, SIGMA)[:, 0]
    axes.loglog(depth, line, color="#0969da", label=r"first order, $s\,f\,T_x/Z$")
    drawn = [tree.shift(deltas()).std() for tree in TREES]
    axes.loglog(DEPTHS, drawn, "o", color="#24292f", label="drawn")
    axes.set(xlabel="depth", ylabel="pixels", xticks=[*DEPTHS, WALL], yticks=[0.5, 1, 2, 4, 8])
    axes.set_xticklabels([f"{d:g}" for d in (*DEPTHS, WALL)])
    axes.set_yticklabels(["0.5", "1", "2", "4", "8"])
    axes.minorticks_off()
    axes.set_title("how far boundaries spread", loc="left", fontsize=11)
    axes.legend(frameon=False)


def _losses(axes: plt.Axes, shares: list[tuple[float, float]]) -> None:
    places = np.arange(len(shares))
    both = (("of the tree", "#bf5700"), ("of the wall around it", "#8c959f"))
    for k, (name, colour) in enumerate(both):
        heights = [100 * share[k] for share in shares]
        axes.bar(places + (k - 0.5) * 0.36, heights, 0.36, label=name, color=colour)
    axes.set_xticks(places, [f"depth {d:g}" for d in DEPTHS])
    axes.set_ylabel("% of the tree's pixels")
    axes.set_title("pixels whose depth is off by more than 10 %", loc="left", fontsize=11)
    axes.legend(frameon=False)


if __name__ == "__main__":
    draw().savefig(OUT, metadata={"Software": None})
