"""Losses of fine-tuning: what they are to ignore, they ignore, and slow twins agree."""

from __future__ import annotations

import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from align3r.train.losses import (
    DISTANCES,
    Distance,
    LossSettings,
    affine_invariant_errors,
    confidence_term,
    distillation_losses,
    fin3r_loss,
    in_first_camera,
    mean_distance,
    mean_over_images,
    mean_over_pixels,
    pair_losses,
)

SHAPE = (3, 4, 5)
KINDS = [(1, "z"), (3, "z"), (3, "ray"), (1, "ray")]


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(shape, generator=generator, dtype=torch.float64) + 0.5


def some_valid() -> Tensor:
    return random(*SHAPE, seed=9) > 0.8


def distil(channels: int, **more: Any) -> dict[str, Any]:
    return {
        "prediction": random(*SHAPE, channels, seed=1),
        "confidence": random(*SHAPE, seed=2) + 1,
        "label": random(*SHAPE, channels, seed=3),
        "valid": some_valid(),
        "ray_lengths": random(*SHAPE, seed=4) + 1,
    } | more


@pytest.mark.parametrize("distance", get_args(Distance))
@pytest.mark.parametrize(("channels", "normaliser"), KINDS)
def test_distillation_equals_one_pixel_after_the_other(
    distance: Distance, channels: int, normaliser: Any
) -> None:
    given = distil(channels)
    settings = LossSettings(distance=distance, normaliser=normaliser, confidence_weight=0.3)
    found = distillation_losses(**given, settings=settings)
    for image in range(3):
        pixels = [(image, r, c) for r in range(4) for c in range(5) if given["valid"][image, r, c]]

        def length(values: Tensor, pixel: tuple[int, int, int]) -> float:
            value = values[pixel]
            if normaliser == "z":
                return float(value[-1])
            rays = given["ray_lengths"][pixel]
            return float(value[0] * rays) if channels == 1 else math.hypot(*value.tolist())

        means = [
            sum(length(given[name], p) for p in pixels) / len(pixels)
            for name in ("prediction", "label")
        ]
        losses = []
        for p in pixels:
            values = [given[name][p].tolist() for name in ("prediction", "label")]
            d = math.dist(*([v / m for v in vs] for vs, m in zip(values, means, strict=True)))
            beta = float(given["confidence"][p])
            losses.append(beta * (d if distance == "l2" else d * d) - 0.3 * math.log(beta))
        assert found[image] == pytest.approx(sum(losses) / len(losses), rel=1e-12)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_scale_of_prediction_and_label_has_no_say(channels: int) -> None:
    given = distil(channels)
    plain = distillation_losses(**given)
    factors = torch.tensor([0.1, 3.0, 50.0])[:, None, None, None]
    for name in ("prediction", "label"):
        scaled = given | {name: given[name] * factors}
        torch.testing.assert_close(distillation_losses(**scaled), plain)


def test_one_z_is_the_mean_of_depth_whatever_the_channels() -> None:
    given = distil(1)
    zeros = torch.zeros(*SHAPE, 2)
    points = {k: torch.cat([zeros, given[k]], dim=-1) for k in ("prediction", "label")}
    torch.testing.assert_close(
        distillation_losses(**given), distillation_losses(**(given | points))
    )


@pytest.mark.parametrize(("channels", "normaliser"), KINDS)
def test_gradients_of_the_distillation(channels: int, normaliser: Any) -> None:
    given = distil(channels)
    settings = LossSettings(normaliser=normaliser)

    def loss(prediction: Tensor, confidence: Tensor) -> Tensor:
        changed = given | {"prediction": prediction, "confidence": confidence}
        return distillation_losses(**changed, settings=settings)

    inputs = [given[name].requires_grad_() for name in ("prediction", "confidence")]
    assert torch.autograd.gradcheck(loss, inputs)


@pytest.mark.parametrize("nothing", [math.nan, math.inf, -1e30])
def test_what_is_not_valid_has_no_part(nothing: float) -> None:
    given = distil(1)
    expected = distillation_losses(**given)
    plain = gradient(given)
    spoiled = given | {
        name: torch.where(given["valid"][..., None], given[name], nothing)
        for name in ("prediction", "label")
    }
    torch.testing.assert_close(distillation_losses(**spoiled), expected)
    torch.testing.assert_close(gradient(spoiled), plain)
    assert (plain[~given["valid"]] == 0).all() and (plain[given["valid"]] != 0).all()


def gradient(given: dict[str, Any]) -> Tensor:
    prediction = given["prediction"].detach().clone().requires_grad_()
    distillation_losses(**(given | {"prediction": prediction})).sum().backward()
    assert prediction.grad is not None
    return prediction.grad


def test_an_image_without_labels_counts_nothing() -> None:
    valid = some_valid()
    valid[1] = False
    given = distil(1, valid=valid)
    assert distillation_losses(**given)[1] == 0
    assert torch.isfinite(gradient(given)).all()
    nothing = torch.zeros_like(valid)
    assert mean_over_pixels(random(*SHAPE), nothing) == 0
    assert (mean_over_images(random(*SHAPE), nothing) == 0).all()


def test_rays_need_their_lengths() -> None:
    with pytest.raises(ValueError, match="lengths of the rays"):
        distillation_losses(**distil(1, ray_lengths=None), settings=LossSettings(normaliser="ray"))


def test_a_right_prediction_is_told_to_be_sure() -> None:
    given = distil(1)
    given["prediction"] = given["label"] * 7
    confidence = given["confidence"].requires_grad_()
    distillation_losses(**given).sum().backward()
    assert confidence.grad is not None and (confidence.grad[given["valid"]] < 0).all()


def test_the_best_confidence_is_the_weight_by_the_distance() -> None:
    c = torch.linspace(0.01, 5, 10_000, dtype=torch.float64)
    best = c[confidence_term(torch.tensor(0.25), c, weight=0.2).argmin()]
    assert best == pytest.approx(0.8, abs=1e-3)


def pair(seed: int) -> list[Tensor]:
    return [random(*SHAPE, 3, seed=seed), random(*SHAPE, 3, seed=seed + 1)]


def test_both_views_have_one_scale() -> None:
    valid, confidence = [some_valid(), ~some_valid()], [random(*SHAPE), random(*SHAPE)]
    points, truth = pair(10), pair(20)
    plain = pair_losses(points, confidence, truth, valid)
    together = pair_losses([p * 4 for p in points], confidence, truth, valid)
    for a, b, v in zip(plain, together, valid, strict=True):
        torch.testing.assert_close(a, b)
        assert (a[~v] == 0).all()
    one = pair_losses([points[0] * 4, points[1]], confidence, truth, valid)
    assert (one[1] - plain[1]).abs().max() > 0.05


def test_nan_in_the_truth_of_a_pair_does_not_reach_the_gradient() -> None:
    valid, confidence = [some_valid()] * 2, [random(*SHAPE)] * 2
    truth = [torch.where(some_valid()[..., None], t, math.nan) for t in pair(20)]
    points = [p.requires_grad_() for p in pair(10)]
    sum(pair_losses(points, confidence, truth, valid), torch.zeros(())).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in points)


def test_the_distances() -> None:
    difference = torch.tensor([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]], requires_grad=True)
    assert DISTANCES["l2"](difference).tolist() == [5, 0]
    assert DISTANCES["l2sq"](difference).tolist() == [25, 0]
    DISTANCES["l2"](difference).sum().backward()
    assert difference.grad is not None and difference.grad.isfinite().all()


def test_points_in_the_first_camera() -> None:
    pose = torch.eye(4, dtype=torch.float64).repeat(3, 1, 1)
    pose[:, :3, :3] = torch.linalg.qr(random(3, 3, 3)).Q
    pose[:, :3, 3] = random(3, 3, seed=5)
    points = random(*SHAPE, 3)
    homogeneous = torch.cat([points, torch.ones(*SHAPE, 1)], dim=-1)
    expected = torch.einsum("bij,bhwj->bhwi", pose.inverse(), homogeneous)[..., :3]
    torch.testing.assert_close(in_first_camera(points, pose), expected)


def test_points_that_are_all_zero_are_left_alone() -> None:
    zeros, valid = torch.zeros(*SHAPE, 3), some_valid()
    assert mean_distance([zeros], [valid]).tolist() == pytest.approx([1e-8] * 3)


def test_the_whole_loss() -> None:
    distillation, replay = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, math.nan, 30.0])
    several = torch.tensor([True, False, True])
    assert fin3r_loss(distillation, replay, several) == pytest.approx(46 / 3)


def test_neither_scale_nor_shift_counts_in_validation() -> None:
    label, valid = random(*SHAPE), some_valid()
    depth = torch.where(valid, (label - 0.3) / 2.5, math.nan)
    torch.testing.assert_close(
        affine_invariant_errors(depth, torch.where(valid, label, math.inf), valid),
        torch.zeros(3, dtype=torch.float64),
    )


def test_scale_and_shift_are_the_best_there_are() -> None:
    depth, label, valid = random(*SHAPE, seed=1), random(*SHAPE, seed=2), some_valid()
    depth = depth + label
    found = affine_invariant_errors(depth, label, valid)
    for image in range(3):
        d, target = depth[image][valid[image]], label[image][valid[image]]
        rows = torch.stack([d / target, 1 / target], dim=-1)
        solved = torch.linalg.lstsq(rows, torch.ones(len(d), 1, dtype=torch.float64)).solution
        assert solved[0] > 0
        assert found[image] == pytest.approx(float((rows @ solved - 1).abs().mean()), rel=1e-9)


def test_predictions_that_say_nothing_are_one_number_at_best() -> None:
    label, valid = random(*SHAPE), some_valid()
    flat = affine_invariant_errors(torch.full(SHAPE, 2.0), label, valid)
    reversed_ = affine_invariant_errors(-label, label, valid)
    torch.testing.assert_close(flat.double(), reversed_)
    assert (flat > 0.05).all()
    nothing = torch.zeros(SHAPE, dtype=torch.bool)
    assert affine_invariant_errors(label, label, nothing).isnan().all()
