"""Pinhole cameras by their laws: what a static scene must show, and what resizing must keep."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from align3r.geometry.cameras import (
    ego_flow,
    image_centre,
    image_corners,
    intrinsic_matrix,
    rays,
    resize_intrinsics,
)

SHAPE = (12, 17)
CENTRE = (7.3, 5.9)
FOCAL = 19.0
SIZE = st.tuples(st.integers(8, 2000), st.integers(8, 2000))
SMALL = st.floats(-0.2, 0.2)


def motion(turn: tuple[float, ...], shift: tuple[float, ...]) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(np.array(turn, float))[0]
    pose[:3, 3] = shift
    return pose


def inverse_depths(seed: int = 0) -> np.ndarray:
    rho = np.random.default_rng(seed).uniform(0.1, 1.0, SHAPE).astype(np.float32)
    rho[0, 0] = 0.0  # infinitely far
    return rho


def slow_ego_flow(
    rho: np.ndarray, pose: np.ndarray, k_source: np.ndarray, k_target: np.ndarray
) -> np.ndarray:
    """One pixel after the other, through homogeneous coordinates."""
    flow = np.empty((*rho.shape, 2))
    for v in range(rho.shape[0]):
        for u in range(rho.shape[1]):
            ray = np.linalg.inv(k_source) @ [u, v, 1.0]
            seen = k_target @ (pose @ np.r_[ray, rho[v, u]])[:3]
            flow[v, u] = seen[:2] / seen[2] - (u, v)
    return flow


@given(turn=st.tuples(SMALL, SMALL, SMALL), shift=st.tuples(SMALL, SMALL, SMALL))
def test_ego_flow_is_the_projection_of_every_pixel(
    turn: tuple[float, ...], shift: tuple[float, ...]
) -> None:
    rho, pose = inverse_depths(), motion(turn, shift)
    flow, in_front = ego_flow(rho, pose, FOCAL, CENTRE)
    k = intrinsic_matrix(FOCAL, CENTRE)
    assert in_front.all()
    np.testing.assert_allclose(flow, slow_ego_flow(rho, pose, k, k), atol=2e-4)


def test_two_kinds_of_camera() -> None:
    rho, pose = inverse_depths(1), motion((0.02, -0.1, 0.05), (0.1, 0.02, -0.1))
    flow, _ = ego_flow(rho, pose, FOCAL, CENTRE, target_focal=24.0, target_centre=(8.0, 4.5))
    k, other = intrinsic_matrix(FOCAL, CENTRE), intrinsic_matrix(24.0, (8.0, 4.5))
    np.testing.assert_allclose(flow, slow_ego_flow(rho, pose, k, other), atol=2e-4)
    same, _ = ego_flow(rho, pose, FOCAL, CENTRE, target_focal=FOCAL, target_centre=CENTRE)
    np.testing.assert_array_equal(same, ego_flow(rho, pose, FOCAL, CENTRE)[0])


def test_pixels_that_are_not_square() -> None:
    rho, pose = inverse_depths(2), motion((0.02, -0.1, 0.05), (0.1, 0.02, -0.1))
    flow, _ = ego_flow(rho, pose, FOCAL, CENTRE, target_focal=24.0, aspect=1.08)
    k, other = intrinsic_matrix(FOCAL, CENTRE), intrinsic_matrix(24.0, CENTRE)
    k[1, 1] /= 1.08
    other[1, 1] /= 1.08
    np.testing.assert_allclose(flow, slow_ego_flow(rho, pose, k, other), atol=2e-4)


def test_a_camera_at_rest_sees_no_flow() -> None:
    flow, in_front = ego_flow(inverse_depths(), np.eye(4), FOCAL, CENTRE)
    assert in_front.all()
    np.testing.assert_allclose(flow, 0.0, atol=1e-6)


@given(turn=st.tuples(SMALL, SMALL, SMALL))
def test_turning_does_not_show_depth(turn: tuple[float, ...]) -> None:
    pose = motion(turn, (0, 0, 0))
    near, _ = ego_flow(inverse_depths(0), pose, FOCAL, CENTRE)
    far, _ = ego_flow(inverse_depths(1), pose, FOCAL, CENTRE)
    np.testing.assert_array_equal(near, far)


def test_points_behind_the_target_camera_are_told() -> None:
    rho = np.full(SHAPE, 0.5, np.float32)
    rho[3, 4] = 2.0  # at half a metre, and the camera goes one metre forward
    flow, in_front = ego_flow(rho, motion((0, 0, 0), (0, 0, -1.0)), FOCAL, CENTRE)
    assert not in_front[3, 4]
    assert in_front.sum() == in_front.size - 1
    assert np.isfinite(flow).all()


@given(size=SIZE, other=SIZE)
def test_resizing_there_and_back_changes_nothing(
    size: tuple[int, int], other: tuple[int, int]
) -> None:
    k = np.array([[300.0, 0.5, 130.0], [0, 310.0, 90.0], [0, 0, 1]])
    back = resize_intrinsics(resize_intrinsics(k, size, other), other, size)
    np.testing.assert_allclose(back, k, rtol=1e-9, atol=1e-9)


@given(size=SIZE, other=SIZE)
def test_resizing_keeps_the_middle_and_the_field_of_view(
    size: tuple[int, int], other: tuple[int, int]
) -> None:
    k = intrinsic_matrix(0.8 * size[0], image_centre(size))
    resized = resize_intrinsics(k[None], size, other)[0]
    np.testing.assert_allclose(resized[:2, 2], image_centre(other), atol=1e-9)
    assert resized[0, 0] / other[0] == pytest.approx(k[0, 0] / size[0])
    assert resized[1, 1] / other[1] == pytest.approx(k[1, 1] / size[1])
    np.testing.assert_allclose(resized[2], [0, 0, 1])


@pytest.mark.parametrize("step", [1, 3])
def test_rays_project_to_their_own_pixels(step: int) -> None:
    pixels = rays(SHAPE, FOCAL, CENTRE, step=step) @ intrinsic_matrix(FOCAL, CENTRE).T
    v, u = np.mgrid[0 : SHAPE[0] : step, 0 : SHAPE[1] : step]
    np.testing.assert_allclose(pixels, np.stack([u, v, np.ones_like(u)], -1), atol=1e-5)


@given(SIZE, SIZE)
def test_corners_stay_corners_when_an_image_is_resized(
    size: tuple[int, int], other: tuple[int, int]
) -> None:
    corners, k = image_corners(size), intrinsic_matrix(FOCAL, CENTRE)
    np.testing.assert_allclose(corners.mean(0), image_centre(size))
    np.testing.assert_array_equal(np.ptp(corners, axis=0), size)
    resized = resize_intrinsics(k, size, other)
    ones = np.ones((4, 1))
    seen = np.hstack([corners, ones]) @ np.linalg.inv(k).T
    np.testing.assert_allclose(
        np.hstack([image_corners(other), ones]) @ np.linalg.inv(resized).T, seen, atol=1e-9
    )
