"""Sparse matches and the start flow they give."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from align3r.flow.matches import Features, detect, match, start_flow
from align3r.flow.warp import pixel_grid

SHAPE = (120, 180)


def texture(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """(h, w, 3) uint8 with detail at several scales."""
    rng = np.random.default_rng(seed)
    image = np.zeros((*shape, 3))
    for sigma in (1.5, 4.0, 12.0):
        noise = cv2.GaussianBlur(rng.normal(size=(*shape, 3)), (0, 0), sigma)
        image += noise / noise.std()
    return np.clip(128 + 35 * image, 0, 255).astype(np.uint8)


def homography_flow(homography: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    grid = pixel_grid(*shape).reshape(-1, 1, 2)
    moved = cv2.perspectiveTransform(grid, homography)
    return (moved - grid).reshape(*shape, 2)


def some_features(count: int) -> Features:
    rng = np.random.default_rng(0)
    sift = rng.integers(0, 256, (count, 128), dtype=np.uint8)
    return Features(rng.uniform(0, 90, (count, 2)).astype(np.float32), sift)


def test_a_blank_image_has_no_features_and_no_matches() -> None:
    blank = detect(np.full((*SHAPE, 3), 90, np.uint8))
    assert blank.points.shape == (0, 2) and blank.descriptors.shape == (0, 128)
    busy = detect(texture(SHAPE))
    for a, b in ((blank, busy), (busy, blank), (blank, blank)):
        index_a, index_b = match(a, b)
        assert len(index_a) == len(index_b) == 0


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_few_features_are_no_matches(count: int) -> None:
    few, many = some_features(count), some_features(40)
    for a, b in ((few, many), (many, few)):
        index_a, index_b = match(a, b)
        assert len(index_a) == len(index_b) <= count


def test_descriptors_are_the_roots_of_shares() -> None:
    image = texture(SHAPE)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    _, plain = cv2.SIFT.create(nfeatures=2000, contrastThreshold=0.015).detectAndCompute(grey, None)
    found = detect(image).descriptors
    np.testing.assert_allclose(found, np.sqrt(plain / plain.sum(1, keepdims=True)), rtol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-6)


def test_matches_of_a_shift_are_right() -> None:
    scene = texture((160, 240))
    a, b = detect(scene[:, :180]), detect(scene[:, 60:])
    index_a, index_b = match(a, b)
    assert len(index_a) > 40
    move = b.points[index_b] - a.points[index_a]
    assert (np.abs(move - (-60, 0)).max(-1) < 1.5).mean() > 0.98


def test_a_match_that_contradicts_its_surroundings_is_dropped() -> None:
    a = some_features(60)
    points = a.points + np.float32([5, 0])
    points[7] += (40, -30)
    index_a, index_b = match(a, Features(points.astype(np.float32), a.sift))
    assert set(range(60)) - {7} == set(index_a.tolist())
    np.testing.assert_array_equal(index_a, index_b)


def test_start_flow_of_a_homography_is_that_homography() -> None:
    homography = np.array([[1.05, 0.04, 20], [-0.03, 0.98, -8], [1e-4, -2e-4, 1]])
    truth = homography_flow(homography, SHAPE)
    rng = np.random.default_rng(3)
    source = rng.uniform((0, 0), (SHAPE[1] - 1, SHAPE[0] - 1), (80, 2))
    target = cv2.perspectiveTransform(source[:, None], homography)[:, 0]
    flow = start_flow(source, target, SHAPE)
    assert flow is not None and flow.dtype == np.float32 and flow.shape == (*SHAPE, 2)
    # Linear between the nodes of a coarse grid: a fraction of a pixel from the curved truth.
    assert np.abs(flow - truth).max() < 0.3


def test_an_object_of_its_own_moves_its_surroundings_only() -> None:
    rng = np.random.default_rng(4)
    source = rng.uniform((0, 0), (SHAPE[1], SHAPE[0]), (300, 2))
    move = np.full_like(source, 10.0)
    inside = (np.abs(source - (130, 60)) < 25).all(-1)
    move[inside] = (-15, 10)
    flow = start_flow(source, source + move, SHAPE)
    assert flow is not None
    assert np.abs(flow[60, 130] - (-15, 10)).max() < 2
    assert np.abs(flow[:, :60] - 10).max() < 2


def test_too_few_matches_say_nothing() -> None:
    source = np.random.default_rng(0).uniform(0, 100, (11, 2))
    assert start_flow(source, source + 3, SHAPE) is None
    assert start_flow(np.zeros((0, 2)), np.zeros((0, 2)), SHAPE) is None
