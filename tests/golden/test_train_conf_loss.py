"""DUSt3R's confidence loss against the numbers and the gradients of the reference."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from align3r.train.losses import (
    DISTANCES,
    in_first_camera,
    mean_distance,
    mean_over_pixels,
    pair_losses,
)

VIEWS = (1, 2)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(Path(__file__).parent / "fin3r" / "dust3r_conf_loss.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


def near(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=2e-5, atol=1e-6)


def of_views(golden: dict[str, Tensor], name: str) -> list[Tensor]:
    return [golden[f"{name}{view}"] for view in VIEWS]


def truth(golden: dict[str, Tensor]) -> list[Tensor]:
    return [in_first_camera(points, golden["cam1"]) for points in of_views(golden, "gt_pts")]


def test_the_joint_normaliser(golden: dict[str, Tensor]) -> None:
    factor = mean_distance(of_views(golden, "gt_pts"), of_views(golden, "valid"))
    near(factor, golden["norm_factor_gt_world"].flatten())


def test_distances_of_the_views(golden: dict[str, Tensor]) -> None:
    points, valid = of_views(golden, "pr_pts"), of_views(golden, "valid")
    ours, theirs = (mean_distance(p, valid)[:, None, None, None] for p in (points, truth(golden)))
    for p, t, v, expected in zip(
        points, truth(golden), valid, of_views(golden, "regr"), strict=True
    ):
        near(mean_over_pixels(DISTANCES["l2"](p / ours - t / theirs), v), expected)


def test_values_and_gradients(golden: dict[str, Tensor]) -> None:
    points = [p.clone().requires_grad_() for p in of_views(golden, "pr_pts")]
    confidence = [c.clone().requires_grad_() for c in of_views(golden, "conf")]
    valid = of_views(golden, "valid")
    losses = pair_losses(points, confidence, truth(golden), valid)
    means = [mean_over_pixels(loss, v) for loss, v in zip(losses, valid, strict=True)]
    for mean, expected in zip(means, of_views(golden, "conf_loss"), strict=True):
        near(mean, expected)
    total = means[0] + means[1]
    near(total, golden["loss"])
    total.backward()
    assert golden["grad_pr_pts1"].abs().max() > 1e-3
    near(points[0].grad, golden["grad_pr_pts1"])
    near(confidence[0].grad, golden["grad_conf1"])
