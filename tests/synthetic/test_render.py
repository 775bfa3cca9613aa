"""The renderer is the judge of everything else, so it is judged by geometry alone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from render import CAMERAS, EXAMPLES, Clip, clip_on_disk, rendered

SMALL = {"n_frames": 5, "size": (96, 72), "fps": 2.0}


def warped(clip: Clip, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each pixel of frame i lies in frame j, (h, w, 2), and its depth there, (h, w)."""
    h, w = clip.depth[i].shape
    v, u = np.mgrid[:h, :w]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(clip.k).T
    world = clip.world_from_cam[i]
    points = rays * clip.depth[i][..., None] @ world[:3, :3].T + world[:3, 3]
    cam = np.linalg.inv(clip.world_from_cam[j])
    seen = points @ cam[:3, :3].T + cam[:3, 3]
    pixels = seen @ clip.k.T
    return pixels[..., :2] / pixels[..., 2:], seen[..., 2]


def static_and_visible(clip: Clip, i: int, j: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mask of frame i, and the map to sample frame j with."""
    pixel, z = warped(clip, i, j)
    x, y = pixel[..., 0].astype(np.float32), pixel[..., 1].astype(np.float32)
    there = cv2.remap(clip.depth[j], x, y, cv2.INTER_LINEAR, borderValue=-1)
    moves = cv2.remap(clip.moving[j].astype(np.float32), x, y, cv2.INTER_LINEAR)
    return (np.abs(there / z - 1) < 0.01) & ~clip.moving[i] & (moves == 0), x, y


def test_depth_and_poses_agree_between_frames() -> None:
    clip = rendered(**SMALL)
    for i, j in ((0, 1), (1, 3), (4, 0)):
        pixel, z = warped(clip, i, j)
        h, w = z.shape
        x, y = np.rint(pixel[..., 0]).astype(int), np.rint(pixel[..., 1]).astype(int)
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h) & ~clip.moving[i]
        seen = (y[inside], x[inside])
        near = (z[inside] / clip.depth[j][seen])[~clip.moving[j][seen]]
        # Half a pixel of rounding apart, frame j sees the same surface there, or something nearer.
        assert np.median(np.abs(near - 1)) < 0.005
        assert (near > 0.95).mean() > 0.97
        assert (near < 1.05).mean() > 0.85


def test_static_surfaces_keep_their_colour_and_moving_ones_do_not() -> None:
    clip = rendered(n_frames=2, size=(192, 144), fps=2.0, smooth=2)
    still, x, y = static_and_visible(clip, 0, 1)
    other = cv2.remap(clip.images[1], x, y, cv2.INTER_LINEAR).astype(float)
    difference = np.abs(other - clip.images[0]).mean(-1)
    assert still.mean() > 0.6
    assert np.median(difference[still]) < 6
    assert np.median(difference[clip.moving[0]]) > 3 * np.median(difference[still])


def test_the_principal_point_is_the_middle_and_the_first_camera_the_origin() -> None:
    clip = rendered(**SMALL)
    np.testing.assert_allclose(clip.k[:2, 2], [95 / 2, 71 / 2])
    np.testing.assert_allclose(clip.world_from_cam[0], np.eye(4), atol=1e-12)
    rotation = clip.world_from_cam[:, :3, :3]
    np.testing.assert_allclose(rotation @ rotation.transpose(0, 2, 1), [np.eye(3)] * 5, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotation), 1.0)


def test_the_same_call_gives_the_same_pixels() -> None:
    a = rendered.__wrapped__(**SMALL)
    np.testing.assert_array_equal(a.images, rendered(**SMALL).images)


def path_m(clip: Clip) -> float:
    return float(np.linalg.norm(np.diff(clip.world_from_cam[:, :3, 3], axis=0), axis=1).sum())


def test_kinds_do_what_they_say() -> None:
    clips = {kind: rendered(kind, **SMALL) for kind in CAMERAS}
    assert 0.8 < path_m(clips["walk"]) < 2.0
    assert path_m(clips["rotate"]) < 1e-12
    angle = np.degrees(np.arccos((np.trace(clips["rotate"].world_from_cam[-1, :3, :3]) - 1) / 2))
    assert 15 < angle < 35
    np.testing.assert_allclose(clips["static"].world_from_cam, [np.eye(4)] * 5, atol=1e-12)
    assert (clips["static"].images[0] != clips["static"].images[4]).any(), "the figure still walks"
    assert not clips["black"].images.any()
    assert clips["walk"].images.std() > 30
    assert not rendered(moving=False, **SMALL).moving.any()


def test_a_clip_on_disk_can_be_read_back(tmp_path: object) -> None:
    video, clip = clip_on_disk(tmp_path, **SMALL)  # type: ignore[arg-type]
    reader = cv2.VideoCapture(str(video))
    for image in clip.images:
        there, bgr = reader.read()
        assert there
        assert np.abs(bgr[..., ::-1].astype(int) - image).mean() < 12
    assert not reader.read()[0]
    reader.release()


@pytest.fixture(scope="module")
def example() -> dict[str, np.ndarray]:
    with np.load(EXAMPLES / "clip_truth.npz") as data:
        return dict(data)


def test_the_committed_example_is_small_and_matches_the_renderer(
    example: dict[str, np.ndarray],
) -> None:
    assert (EXAMPLES / "clip.mp4").stat().st_size < 1_000_000
    assert (EXAMPLES / "clip_truth.npz").stat().st_size < 600_000
    clip = rendered(n_frames=3)
    np.testing.assert_allclose(example["world_from_cam"][:3], clip.world_from_cam, atol=1e-9)
    stride = int(example["depth_stride"])
    want = clip.depth[:, ::stride, ::stride]
    np.testing.assert_allclose(example["depth"][:3].astype(float), want, rtol=1e-3)
    w, h = example["size"]
    masks = np.unpackbits(example["moving"])[: 36 * h * w].reshape(36, h, w).astype(bool)
    assert (masks[:3] != clip.moving).mean() < 1e-4
    assert 0.06 < masks.mean() < 0.10
    assert 1.2 < np.linalg.norm(np.diff(example["world_from_cam"][:, :3, 3], axis=0), axis=1).sum()
