"""The residual report against the truth it is not told, and what a person reads of it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from optim_problem import World, make_world

from align3r.cli.health import health_lines
from align3r.config import AlignOptions
from align3r.io.jsonable import jsonable
from align3r.io.residuals import residuals_info
from align3r.optim import align
from align3r.optim.aligner import _Lens, _scene
from align3r.optim.report import align_report
from align3r.optim.state import Estimate
from align3r.types import AlignReport, PairFlows, PairPredictions, Residuals, Solution

N, SIZE = 5, (64, 48)
OPTIONS = AlignOptions(solver="gauss-newton", pixels=600)


def true_estimate(world: World) -> Estimate:
    """Cameras and pairs as they are; the unit of the world."""
    pose = torch.from_numpy(world.world_from_cam)
    first = torch.from_numpy(world.predictions.edges[:, 0])
    points = world.predictions.points.double()
    depth = torch.from_numpy(world.depth)[first]
    scale = (depth / points[:, 0, :, :, 2]).flatten(1).median(1).values
    pair = pose[first, :3].clone()
    pair[:, :, :3] *= scale[:, None, None]
    focal = torch.full((len(pose),), world.focal, dtype=torch.float64)
    return Estimate(pose, focal, torch.zeros(len(pose), 0), pair)


def report_of(
    world: World, estimate: Estimate, *, flows: PairFlows | None, static: np.ndarray | None = None
) -> AlignReport:
    lens = _Lens(world.predictions.principal_point, 1.0)
    scene = _scene(world.predictions, N, lens, OPTIONS, device=torch.device("cpu"))
    scene = replace(scene, flows=flows, static=static)
    return align_report(estimate, world.depth, scene)


def longer(estimate: Estimate, factor: float) -> Estimate:
    """A camera path that is too long for the depth."""
    pose = estimate.world_from_cam.clone()
    pose[:, :3, 3] *= factor
    return replace(estimate, world_from_cam=pose)


def test_of_the_truth_nothing_is_left_over() -> None:
    world = make_world(N, size=SIZE, step=0.3)
    found = report_of(world, true_estimate(world), flows=world.flows)
    assert found.path_scale_from == "flow" and found.path_scale == pytest.approx(1, abs=2e-3)
    for part, count in ((found.pairs, 10), (found.frames, N), (found.whole, 1)):
        assert part.points.shape == part.inliers.shape == (count,)
        assert part.points.max() < 1e-4 and part.flow_px.max() < 1e-2
        np.testing.assert_array_equal(part.inliers, 1.0)
        np.testing.assert_array_equal(part.flow_inliers, 1.0)
    np.testing.assert_array_equal(found.edges, world.predictions.edges)
    assert found.warnings == ()


def test_the_medians_and_shares_are_those_of_a_loop() -> None:
    """Pair by pair and pixel by pixel at full size, in numpy."""
    world = make_world(N, size=SIZE, step=0.3, noise=0.03)
    estimate = true_estimate(world)
    found = report_of(world, estimate, flows=world.flows)
    height, width = world.depth.shape[1:]
    v, u = np.mgrid[:height, :width]
    rays = np.stack([u - (width - 1) / 2, v - (height - 1) / 2, np.full(u.shape, world.focal)], -1)
    rays = rays / world.focal
    for at, (i, j) in enumerate(world.predictions.edges):
        misses, weights, flow = [], [], []
        for side, (view, other) in enumerate(((i, j), (j, i))):
            pose = world.world_from_cam[view]
            here = (rays * world.depth[view][..., None]) @ pose[:3, :3].T + pose[:3, 3]
            pair = estimate.world_from_pair[at].numpy()
            there = world.predictions.points[at, side].numpy() @ pair[:, :3].T + pair[:, 3]
            misses.append(np.linalg.norm(here - there, axis=-1) / world.depth[view])
            weights.append(np.log(world.predictions.confidence[at, side].numpy()))
            seen = (here - world.world_from_cam[other][:3, 3]) @ world.world_from_cam[other][:3, :3]
            pixel = world.focal * seen[..., :2] / seen[..., 2:] - world.focal * rays[..., :2]
            field = (world.flows.forward, world.flows.backward)[side][at]
            flow.append(np.linalg.norm(pixel - field, axis=-1))
        miss, weight = np.concatenate(misses).ravel(), np.concatenate(weights).ravel()
        order = np.argsort(miss)
        heavy = np.cumsum(weight[order])
        median = miss[order][np.searchsorted(heavy, heavy[-1] / 2)]
        assert found.pairs.points[at] == pytest.approx(median, rel=0.15)
        share = weight[miss < 0.05].sum() / weight.sum()
        assert found.pairs.inliers[at] == pytest.approx(share, abs=0.08)
        assert found.pairs.flow_px[at] == pytest.approx(np.median(np.stack(flow)), rel=0.15)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.5, 2.0])
def test_the_scale_of_a_path_is_measured_by_flow(factor: float) -> None:
    world = make_world(N, size=SIZE, step=0.3)
    found = report_of(world, longer(true_estimate(world), factor), flows=world.flows)
    assert found.path_scale == pytest.approx(1 / factor, rel=5e-3)
    (warning,) = found.warnings
    assert f"path times {1 / factor:.2f} would fit" in warning


def test_without_flow_the_scale_is_a_rough_one_of_the_pairs() -> None:
    world = make_world(N, size=SIZE, step=0.3)
    for factor in (1.0, 2.0):
        found = report_of(world, longer(true_estimate(world), factor), flows=None)
        assert found.path_scale_from == "pairs"
        assert found.path_scale == pytest.approx(1 / factor, rel=0.02)
        (warning,) = found.warnings
        assert "no optical flow" in warning
        assert f"rough estimate of the depth/path scale: {found.path_scale:.2f}" in warning
        assert np.isnan(found.pairs.flow_px).all() and np.isnan(found.whole.flow_inliers).all()


def test_flow_that_does_not_connect_all_frames_is_not_called_none() -> None:
    world = make_world(N, size=SIZE, step=0.3)
    static = np.ones(world.depth.shape, bool)
    static[0] = False
    found = report_of(world, true_estimate(world), flows=world.flows, static=static)
    assert found.path_scale_from == "pairs"
    (warning,) = found.warnings
    assert warning.startswith("the optical flow does not connect all frames: nothing tells")


def test_a_camera_that_stands_still_has_no_path_to_measure() -> None:
    world = make_world(N, size=SIZE, step=0.0)
    found = report_of(world, true_estimate(world), flows=world.flows)
    assert np.isnan(found.path_scale) and found.path_scale_from == "none" and not found.warnings
    shaken = true_estimate(world)
    shaken.world_from_cam[:, :3, 3] += 0.05 * torch.randn(N, 3, generator=torch.manual_seed(0))
    assert np.isnan(report_of(world, shaken, flows=world.flows).path_scale)


def test_what_moves_has_no_say_in_the_flow() -> None:
    world = make_world(N, size=SIZE, step=0.3)
    forward, backward = world.flows.forward.copy(), world.flows.backward.copy()
    forward[:, :, :24] += 7
    backward[:, :, :24] += 7
    flows = replace(world.flows, forward=forward, backward=backward)
    static = np.ones(world.depth.shape, bool)
    static[:, :, :24] = False
    estimate = longer(true_estimate(world), 1.25)
    masked = report_of(world, estimate, flows=flows, static=static)
    assert masked.path_scale == pytest.approx(0.8, rel=0.02)
    honest = report_of(world, true_estimate(world), flows=flows, static=static)
    np.testing.assert_array_equal(honest.frames.flow_inliers, 1.0)
    blind = report_of(world, true_estimate(world), flows=flows)
    assert blind.whole.flow_inliers[0] < 0.75


def test_the_worst_pair_is_the_one_that_is_wrong() -> None:
    world = make_world(N, size=SIZE, step=0.3, noise=0.01)
    points = world.predictions.points.clone()
    points[4, 1] *= 1.3
    predictions = replace(world.predictions, points=points)
    found = align(predictions, n_frames=N, options=OPTIONS, flows=world.flows)
    assert found.report is not None
    assert int(found.report.pairs.points.argmax()) == 4
    assert found.report.pairs.inliers[4] < 0.6 < np.delete(found.report.pairs.inliers, 4).min()
    assert found.world_from_pair is not None
    scale = np.cbrt(np.linalg.det(found.world_from_pair[:, :, :3]))
    np.testing.assert_allclose(found.report.pair_scale, scale, rtol=1e-5)


def test_a_solve_without_flow_is_warned_of_by_the_flow_that_it_was_not_told() -> None:
    world = make_world(N, size=SIZE, step=0.3, noise=0.02)
    # Pairs that see twice the depth at the baseline that they have.
    predictions = deeper(world, 2.0)
    blind = replace(OPTIONS, flow_weight=0.0)
    found = align(predictions, n_frames=N, options=blind, flows=world.flows)
    assert found.report is not None and found.report.path_scale_from == "flow"
    scale = found.report.path_scale
    assert scale > 1.5 and scale == pytest.approx(_true_path_scale(world, found), rel=0.04)
    (warning,) = found.report.warnings
    assert f"differ in scale: path times {scale:.2f} would fit the depth" in warning


def deeper(world: World, factor: float) -> PairPredictions:
    """What the pairs predict, with that factor on the depth of each view, not on the baseline."""
    points = world.predictions.points.clone()
    poses = torch.from_numpy(world.world_from_cam)
    for pair, (i, j) in enumerate(world.predictions.edges):
        points[pair, 0] *= factor
        unit = points[pair, 0, :, :, 2].double() / (factor * torch.from_numpy(world.depth[i]))
        first = float(unit.median()) * (torch.linalg.inv(poses[i]) @ poses[j])[:3, 3]
        points[pair, 1] = factor * points[pair, 1] - (factor - 1) * first.to(points)
    return replace(world.predictions, points=points)


def _true_path_scale(world: World, found: Solution) -> float:
    """The best factor on the path over that on the depth, by the truth."""
    have, want = found.world_from_cam[:, :3, 3], world.world_from_cam[:, :3, 3]
    have, want = have - have.mean(0), want - want.mean(0)
    values = np.linalg.svd(want.T @ have)[1]
    return float(values.sum() / (have**2).sum() / np.median(world.depth / found.depth))


def big_report(n_frames: int, n_pairs: int) -> AlignReport:
    rng = np.random.default_rng(0)

    def some(count: int) -> Residuals:
        return Residuals(*(rng.random(count) for _ in range(4)))

    return AlignReport(
        edges=rng.integers(0, n_frames, (n_pairs, 2)),
        pair_scale=rng.random(n_pairs),
        pairs=some(n_pairs),
        frames=some(n_frames),
        whole=some(1),
        path_scale=1.0,
        path_scale_from="flow",
    )


def test_a_thousand_frames_fit_into_the_file() -> None:
    info = residuals_info(big_report(1000, 6000))
    assert len(json.dumps(jsonable(info))) < 500_000
    assert len(info["frames"]["points"]) == 1000
    assert {len(column) for column in info["pairs"].values()} == {6000}


def test_what_is_not_known_is_null_in_the_file() -> None:
    report = replace(big_report(2, 1), path_scale=float("nan"), path_scale_from="none")
    unknown = replace(report.pairs, flow_px=np.array([np.nan]))
    written = jsonable(residuals_info(replace(report, pairs=unknown)))
    assert written["path_scale"] is None and written["pairs"]["flow_px"] == [None]


def test_people_read_two_lines() -> None:
    world = make_world(N, size=SIZE, step=0.3, noise=0.02)
    found = align(world.predictions, n_frames=N, options=OPTIONS, flows=world.flows)
    assert found.report is not None
    info = {"residuals": jsonable(residuals_info(found.report)), "losses": found.losses}
    first, second = health_lines(info)
    assert first.startswith("alignment: points agree to ") and "% within 1 px)" in first
    i, j = found.report.edges[found.report.pairs.points.argmax()]
    assert f"worst pair {i}-{j} (" in second and "depth/path scale " in second
    assert f"loss {found.losses['total']:.3g} (pair " in second
    assert "roughly" not in second and max(map(len, (first, second))) <= 110


def test_people_are_told_what_is_rough_and_nothing_where_nothing_was_aligned() -> None:
    world = make_world(N, size=SIZE, step=0.3)
    report = report_of(world, true_estimate(world), flows=None)
    first, second = health_lines({"residuals": jsonable(residuals_info(report))})
    assert "px" not in first and "scale 1.00, roughly" in second and "loss" not in second
    assert health_lines({}) == [] and health_lines({"residuals": None}) == []
