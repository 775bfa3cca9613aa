"""What two frames alone say, against known cameras."""

from __future__ import annotations

import numpy as np
import pytest
from geometric_worlds import CENTRE, FOCAL, angle_deg, two_views, world
from scipy.spatial.transform import Rotation

from align3r.pairwise.geometric.bundle import skew
from align3r.pairwise.geometric.motionless import has_parallax, is_still, parallax_px
from align3r.pairwise.geometric.twoview import (
    TwoView,
    focal_from_fundamentals,
    rotation_between,
    rotation_residual,
    two_view,
)

LONG = 512.0


def random_fundamental(focal: float, rng: np.random.Generator, *, noise: float = 0.0) -> TwoView:
    """A pair whose fundamental matrix is exact but for relative noise."""
    rotation = Rotation.from_rotvec(rng.normal(0, 0.15, 3)).as_matrix()
    shift = rng.normal(size=3)
    to_rays = np.diag([1 / focal, 1 / focal, 1.0])
    f = to_rays @ skew(shift / np.linalg.norm(shift)) @ rotation @ to_rays
    f /= np.linalg.norm(f)
    f *= 1 + rng.normal(0, noise, (3, 3))
    nothing = np.zeros((100, 2))
    return TwoView(0, 1, nothing, nothing, f, np.ones(100, bool), 0.2)


@pytest.mark.parametrize("focal", [300.0, 460.0, 900.0])
def test_focal_vote_on_exact_fundamental_matrices(focal: float) -> None:
    rng = np.random.default_rng(0)
    views = [random_fundamental(focal, rng, noise=0.003) for _ in range(12)]
    found = focal_from_fundamentals(views, LONG, usual=0.9 * LONG)
    assert found is not None
    assert abs(found[0] / focal - 1) < 0.03 and found[1] > 0.1


def test_focal_vote_survives_wrong_pairs() -> None:
    rng = np.random.default_rng(1)
    views = [random_fundamental(600.0, rng) for _ in range(10)]
    views += [random_fundamental(600.0, rng, noise=0.5) for _ in range(6)]
    found = focal_from_fundamentals(views, LONG, usual=0.9 * LONG)
    assert found is not None and abs(found[0] / 600.0 - 1) < 0.03


def test_pairs_without_parallax_have_no_vote() -> None:
    view = random_fundamental(500.0, np.random.default_rng(2))
    flat = TwoView(0, 1, view.source, view.target, view.fundamental, view.inlier, 0.95)
    none = TwoView(0, 1, view.source, view.target, None, view.inlier, 1.0)
    assert focal_from_fundamentals([flat, none], LONG, usual=460.0) is None


def test_two_view_finds_the_epipolar_geometry_among_outliers() -> None:
    _, obs = world(2, spacing=6, gap=1, noise_px=0.1, outliers=0.2, step=0.5)
    _, clean = world(2, spacing=6, gap=1, step=0.5)
    view = two_views(obs)[0]
    assert view.fundamental is not None and view.planar < 0.8
    rows = clean.blocks[0][2]
    a = np.c_[clean.anchor_pixel[clean.anchor[rows]] - CENTRE, np.ones(rows.stop - rows.start)]
    b = np.c_[clean.pixel[rows] - CENTRE, np.ones(len(a))]
    line = a @ view.fundamental.T
    distance = np.abs((b * line).sum(1)) / np.linalg.norm(line[:, :2], axis=1)
    assert np.median(distance) < 0.5


def test_a_plane_is_recognised_and_few_matches_say_nothing() -> None:
    rng = np.random.default_rng(3)
    source = rng.uniform(-200, 200, (300, 2))
    homography = np.array([[1.05, 0.02, 9], [-0.03, 0.98, -4], [1e-4, -5e-5, 1]])
    moved = np.c_[source, np.ones(300)] @ homography.T
    view = two_view(0, 1, source, moved[:, :2] / moved[:, 2:], noise_px=1.0)
    assert view.fundamental is None or view.planar > 0.95
    few = two_view(3, 4, source[:10], source[:10] + 5, noise_px=1.0)
    assert few.fundamental is None and not few.inlier.any() and (few.i, few.j) == (3, 4)


def turned(focal: float, rotvec: list[float], n: int = 400) -> tuple[np.ndarray, ...]:
    """Matches of a camera that only turns, and the rotation."""
    rng = np.random.default_rng(4)
    source = rng.uniform(-200, 200, (n, 2))
    rotation = Rotation.from_rotvec(rotvec).as_matrix()
    rays = np.c_[source / focal, np.ones(n)] @ rotation.T
    return source, focal * rays[:, :2] / rays[:, 2:], rotation


def test_rotation_is_found_among_a_third_of_outliers() -> None:
    source, target, rotation = turned(450.0, [0.03, -0.12, 0.05])
    rng = np.random.default_rng(5)
    target = target + rng.normal(0, 0.2, target.shape)
    target[:130] += rng.uniform(5, 40, (130, 2))
    found = rotation_between(source, target, 450.0)
    assert angle_deg(found, rotation) < 0.05
    residual = rotation_residual(source, target, 450.0, found)
    assert np.median(residual[130:]) < 0.5 and np.median(residual[:130]) > 5


def test_parallax_is_what_no_rotation_explains() -> None:
    _, moving = world(4, spacing=6, step=0.12, noise_px=0.1)
    source, target, _ = turned(450.0, [0.0, -0.1, 0.02])
    inlier = np.ones(len(source), bool)
    pure = [TwoView(0, 1, source, target, None, inlier, 1.0)]
    # A wrong guess of the focal length must not make a turn look like parallax.
    assert not has_parallax(parallax_px(pure, 700.0, focal_known=False))
    assert has_parallax(parallax_px(pure, 1500.0, focal_known=True))
    assert has_parallax(parallax_px(two_views(moving), FOCAL, focal_known=False))
    assert parallax_px([], 450.0, focal_known=False) == 0.0


def test_still_means_most_of_the_image_does_not_move() -> None:
    source = np.random.default_rng(6).uniform(-200, 200, (100, 2))
    target = source + 0.05
    target[:30] += 30
    still = TwoView(0, 1, source, target, None, np.zeros(100, bool), 1.0)
    moving = TwoView(0, 1, source, source + 3, None, np.zeros(100, bool), 1.0)
    assert is_still([]) and is_still([still, still]) and not is_still([still, moving, moving])
