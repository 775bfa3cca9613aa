"""The fused terms against their obvious twins, which leave the gradient to autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from align3r.optim.fused import FlowObservations, PointObservations, flow_mean, pair_sum

VIEWS = (0, 0, 0, 1, 1, 3)  # view 2 is in no pair
SPANS = ((0, 3), (3, 5), (5, 5), (5, 6))
PIXELS = 70


def random(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape))


def inputs() -> tuple[Tensor, Tensor]:
    points = random(4, 3, PIXELS) + torch.tensor([0.0, 0.0, 4.0])[:, None]
    turn = torch.eye(3).double() + 0.1 * random(6, 3, 3)
    matrix = torch.cat([turn, 0.2 * random(6, 3, 1)], dim=2)
    return points.requires_grad_(), matrix.requires_grad_()


def observations() -> PointObservations:
    seen = torch.cat([random(6, 3, PIXELS) + 2, torch.ones(6, 1, PIXELS).double()], dim=1)
    return PointObservations(
        points=seen,
        weight=random(6, PIXELS).abs(),
        edge=torch.zeros(6, dtype=torch.int64),
        view=torch.tensor(VIEWS),
        spans=SPANS,
    )


def flows() -> FlowObservations:
    back = torch.tensor([False, False, True, False, True, True])
    return FlowObservations(
        target=0.5 * random(6, 2, PIXELS),
        keep=(random(6, 1, PIXELS) > -0.5).double(),
        source=torch.tensor(VIEWS),
        sink=torch.tensor([1, 3, 1, 0, 3, 0]),
        backward_flow=back,
        spans=((0, 2, 3), (3, 4, 5), (5, 5, 5), (5, 5, 6)),
    )


def slow_pair_sum(points: Tensor, matrix: Tensor, data: PointObservations, power: int) -> Tensor:
    total = points.new_zeros(())
    for s, view in enumerate(VIEWS):
        miss = points[view] - matrix[s] @ data.points[s]
        total = total + (data.weight[s] * miss.norm(dim=0) ** power).sum()
    return total


def slow_flow_mean(
    points: Tensor, matrix: Tensor, data: FlowObservations, threshold: float
) -> Tensor:
    total = points.new_zeros(())
    for way in (False, True):
        losses, kept = points.new_zeros(()), 0.0
        for s, view in enumerate(VIEWS):
            if bool(data.backward_flow[s]) != way:
                continue
            moved = matrix[s, :, :3] @ points[view] + matrix[s, :, 3:]
            miss = moved[:2] / (moved[2] + 1e-6) - data.target[s]
            huber = torch.where(miss.abs() < 1, 0.5 * miss**2, miss.abs() - 0.5)
            ok = (data.keep[s] > 0) & (moved[2:] > 0)
            if threshold > 0:
                ok = ok & (huber < threshold)
            ok = ok.expand_as(huber)
            losses, kept = losses + huber[ok].sum(), kept + float(ok.sum())
        total = total + losses / kept
    return total


@pytest.mark.parametrize(("dist", "power"), [("l1", 1), ("l2", 2)])
def test_pair_sum_equals_its_twin(dist: str, power: int) -> None:
    points, matrix = inputs()
    fast = pair_sum(points, matrix, observations(), dist=dist)  # type: ignore[arg-type]
    slow = slow_pair_sum(points, matrix, observations(), power)
    assert_close(fast, slow)
    found = torch.autograd.grad(3 * fast, (points, matrix))
    assert_close(found, torch.autograd.grad(3 * slow, (points, matrix)))
    assert not found[0][2].any()


@pytest.mark.parametrize("threshold", [0.0, 0.02, 0.3, 2.0, 50.0])
def test_flow_mean_equals_its_twin(threshold: float) -> None:
    points, matrix = inputs()
    fast = flow_mean(points, matrix, flows(), pixel_threshold=threshold)
    slow = slow_flow_mean(points, matrix, flows(), threshold)
    assert float(slow.detach()) > 0
    assert_close(fast, slow)
    found = torch.autograd.grad(3 * fast, (points, matrix))
    assert_close(found, torch.autograd.grad(3 * slow, (points, matrix)))


def test_a_residual_of_zero_pulls_nowhere() -> None:
    points, matrix = inputs()
    data = observations()
    with torch.no_grad():
        points[3] = matrix[5] @ data.points[5]
    total = pair_sum(points, matrix, data)
    found = torch.autograd.grad(total, (points, matrix))
    assert found[0].isfinite().all() and found[1].isfinite().all()


def test_points_behind_the_target_camera_have_no_say() -> None:
    points, matrix = inputs()
    with torch.no_grad():
        matrix[:, 2] *= -1
    total = flow_mean(points, matrix, flows())
    assert float(total.detach()) == 0
    found = torch.autograd.grad(total, (points, matrix))
    assert not found[0].any() and not found[1].any()


def test_no_usable_flow_at_all_is_zero() -> None:
    points, matrix = inputs()
    data = flows()
    data.keep.zero_()
    total = flow_mean(points, matrix, data)
    total.backward()
    assert float(total.detach()) == 0
    assert points.grad is not None and not points.grad.any()
