"""A prior depth from the pair predictions themselves, for predictors that bring none."""

from __future__ import annotations

import numpy as np
import torch

from align3r.geometry.robust import weiszfeld_focal
from align3r.optim.resection import resect
from align3r.types import PairPredictions

_SAMPLES = 4096


def best_pair_prior(predictions: PairPredictions, n_frames: int) -> np.ndarray:
    """Depth of each view as its own most confident pair predicts it.

    Where the view is the pair's second, its camera is found by resection first.

    Args:
        predictions: Pairs in which every frame takes part.
        n_frames: N.

    Returns:
        (N, h, w) float32 > 0; every view has the scale of its pair.
    """
    weight = predictions.confidence.float().log()
    score = weight.mean((-1, -2))
    depths = []
    for frame in range(n_frames):
        side_score = torch.where(
            torch.from_numpy(np.asarray(predictions.edges) == frame), score, -torch.inf
        )
        # A first view needs no resection: prefer it unless the other is clearly better.
        side_score[:, 1] -= 0.05 * side_score[:, 1].abs()
        pair, side = divmod(int(side_score.argmax()), 2)
        points = predictions.points[pair, side].float()
        if side == 1:
            points = _in_own_camera(predictions, pair, points, weight[pair])
        depths.append(points[..., 2].clamp(min=1e-4).numpy())
    return np.stack(depths).astype(np.float32)


def _in_own_camera(
    predictions: PairPredictions, pair: int, points: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """(h, w, 3) points of the pair's second view, moved into that view's own camera."""
    height, width = points.shape[:2]
    every = max(1, int((height * width / _SAMPLES) ** 0.5))
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([u, v], -1).float() - torch.tensor(predictions.principal_point)
    pixels *= torch.tensor([1.0, predictions.aspect])
    grid = (slice(None, None, every), slice(None, None, every))
    centred = pixels[grid].reshape(-1, 2)
    first = predictions.points[pair, 0].float()[grid].reshape(-1, 3)
    focal = weiszfeld_focal(first, centred)
    cam_from_pair = resect(
        points[grid].reshape(1, -1, 3), (centred / focal)[None], weight[1][grid].reshape(1, -1)
    )[0]
    return points @ cam_from_pair[:3, :3].T + cam_from_pair[:3, 3]


def single_view(predictions: PairPredictions) -> tuple[float, np.ndarray]:
    """Focal length (pixels) and (h, w) depth of a video of one frame, from its pair with itself."""
    points = predictions.points[0, 0].float()
    height, width = points.shape[:2]
    v, u = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    centred = torch.stack([u, v], -1).float() - torch.tensor(predictions.principal_point)
    centred *= torch.tensor([1.0, predictions.aspect])
    focal = weiszfeld_focal(points.reshape(-1, 3), centred.reshape(-1, 2))
    return float(focal), points[..., 2].numpy()
