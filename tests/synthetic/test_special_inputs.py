"""Inputs that are hard on purpose: the right result, or the right error."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from render import Clip, rendered
from special_clips import (
    SIZE,
    clip_of,
    figures,
    first,
    forward_clip,
    painted,
    past_the_wall,
    reconstruct,
    relative_path,
    walk_clip,
    wall,
    wall_clip,
)

from align3r.cli.main import main
from align3r.config import AlignOptions, CameraOptions, MotionOptions
from align3r.errors import SolveError
from align3r.reconstruction import Reconstruction

WARNINGS = "warnings"


def only_warning(scene: Reconstruction) -> str:
    assert len(scene.info[WARNINGS]) == 1
    return str(scene.info[WARNINGS][0])


def is_constant_depth_at_confidence_one(scene: Reconstruction) -> bool:
    depth = np.stack([scene.depth(i) for i in range(len(scene))])
    confidence = np.stack([scene.confidence(i) for i in range(len(scene))])
    return float(depth.max() / depth.min()) < 1.1 and float(confidence.max()) < 1.1


def test_static_camera_with_moving_things(tmp_path: Path) -> None:
    clip = rendered("static", n_frames=8, size=SIZE)
    scene = reconstruct(clip.images, tmp_path, align=AlignOptions())
    assert figures(scene, clip).turn_deg < 0.1 and relative_path(scene) < 0.01
    assert figures(scene, clip).iou > 0.7
    assert "stands still" in only_warning(scene)
    assert is_constant_depth_at_confidence_one(scene)


@pytest.fixture(scope="module")
def turning(tmp_path_factory: pytest.TempPathFactory) -> tuple[Reconstruction, Clip]:
    clip = rendered("rotate", n_frames=10, size=SIZE, fps=3.5)
    return reconstruct(clip.images, tmp_path_factory.mktemp("turning")), clip


def test_pure_rotation(turning: tuple[Reconstruction, Clip]) -> None:
    scene, clip = turning
    found = figures(scene, clip)
    assert abs(found.focal_percent) < 3 and found.iou > 0.5
    assert "only turns" in only_warning(scene)
    assert is_constant_depth_at_confidence_one(scene)


def test_pure_rotation_of_the_aligned_cameras(turning: tuple[Reconstruction, Clip]) -> None:
    scene, clip = turning
    assert figures(scene, clip).turn_deg < 0.3 and relative_path(scene) < 0.01


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_video_of_one_colour_is_exit_5(
    level: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for i in range(4):
        cv2.imwrite(str(images / f"{i}.png"), np.full((60, 80, 3), level, np.uint8))
    assert main(["reconstruct", str(images), "-o", str(tmp_path / "out")]) == 5
    said = capsys.readouterr().err.splitlines()
    assert said[-2].startswith("error: all 4 frames are blank") and said[-1].startswith("hint: ")
    assert [path.name for path in tmp_path.iterdir()] == ["images"]


def test_noise_without_a_picture_is_an_error(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(128, 3, (4, 60, 80, 3)).clip(0, 255)
    with pytest.raises(SolveError, match="blank"):
        reconstruct(noise.astype(np.uint8), tmp_path)


def test_pictures_of_different_things_are_an_error(tmp_path: Path) -> None:
    slides = [clip_of(wall(seed), lambda _s: np.eye(4), 1).images[0] for seed in (1, 2, 3)]
    with pytest.raises(SolveError, match="no two of the 3 frames"):
        reconstruct(np.stack(slides), tmp_path)


@pytest.mark.parametrize("dark", [[0, 1], [5, 6], [10, 11]], ids=["fade-in", "middle", "fade-out"])
def test_black_frames_lie_between_their_neighbours(dark: list[int], tmp_path: Path) -> None:
    clip = walk_clip()
    images = clip.images.copy()
    images[dark] = 0
    scene = reconstruct(images, tmp_path, align=AlignOptions())
    named = ", ".join(map(str, dark))
    assert only_warning(scene).endswith(f"neighbours: {named}")
    assert "2 of 12 frames are blank" in only_warning(scene)
    seen = [i for i in range(12) if i not in dark]
    part = replace(
        scene,
        world_from_cam=scene.world_from_cam[seen],
        intrinsics=scene.intrinsics[seen],
        times=scene.times[seen],
        frame_index=scene.frame_index[seen],
    )
    shown = first(clip, seen)
    own = np.linalg.inv(part.world_from_cam[0]) @ part.world_from_cam
    a, b = own[:, :3, 3], shown.world_from_cam[:, :3, 3]
    scale = (a * b).sum() / (a * a).sum()
    assert np.linalg.norm(scale * a - b, axis=1).max() < 0.05 * np.linalg.norm(b[-1])


@pytest.mark.parametrize("still", [False, True])
def test_a_hard_cut_is_told_and_both_parts_are_there(still: bool, tmp_path: Path) -> None:
    clip = rendered("static", n_frames=8, size=SIZE) if still else walk_clip()
    other = clip_of(wall(), (lambda _s: np.eye(4)) if still else past_the_wall, 6)
    images = np.concatenate([clip.images[:6], other.images])
    scene = reconstruct(images, tmp_path)
    warnings = scene.info[WARNINGS]
    assert "cut before frame 6" in warnings[0] and "could not be joined" in warnings[0]
    assert len(warnings) == (3 if still else 1)
    if not still:
        second = np.linalg.inv(scene.world_from_cam[6]) @ scene.world_from_cam[6:]
        a, b = second[:, :3, 3], other.world_from_cam[:, :3, 3]
        scale = (a * b).sum() / (a * a).sum()
        assert np.linalg.norm(scale * a - b, axis=1).max() < 0.1 * np.linalg.norm(b[-1])


def test_one_frame(tmp_path: Path) -> None:
    scene = reconstruct(walk_clip().images[:1], tmp_path)
    assert "a single frame" in only_warning(scene)
    np.testing.assert_array_equal(scene.world_from_cam, np.eye(4)[None])
    assert is_constant_depth_at_confidence_one(scene)
    assert not scene.moving(0).any()


def test_two_frames_with_parallax(tmp_path: Path) -> None:
    clip = first(walk_clip(), [0, 4])
    scene = reconstruct(clip.images, tmp_path)
    assert scene.info[WARNINGS] == []
    assert figures(scene, clip).turn_deg < 1.0 and abs(figures(scene, clip).focal_percent) < 10
    way, true = scene.world_from_cam[1][:3, 3], clip.world_from_cam[1][:3, 3]
    cosine = way @ true / np.linalg.norm(way) / np.linalg.norm(true)
    assert np.degrees(np.arccos(cosine)) < 10


def test_two_equal_frames_are_a_standing_camera(tmp_path: Path) -> None:
    scene = reconstruct(walk_clip().images[[0, 0]], tmp_path)
    assert "stands still" in only_warning(scene)
    assert relative_path(scene) < 1e-3 and is_constant_depth_at_confidence_one(scene)


def test_three_neighbouring_frames_still_show_parallax(tmp_path: Path) -> None:
    clip = first(walk_clip(), [0, 1, 2])
    scene = reconstruct(clip.images, tmp_path)
    assert scene.info[WARNINGS] == []
    assert figures(scene, clip).turn_deg < 1.0 and abs(figures(scene, clip).focal_percent) < 15


def test_nothing_but_a_plane(tmp_path: Path) -> None:
    clip = wall_clip()
    found = figures(reconstruct(clip.images, tmp_path), clip)
    assert found.ate_percent < 0.5 and found.abs_rel < 0.01
    assert found.turn_deg < 0.8 and abs(found.focal_percent) < 3 and found.iou == 1.0


def test_straight_ahead(tmp_path: Path) -> None:
    clip = forward_clip()
    found = figures(reconstruct(clip.images, tmp_path), clip)
    assert found.ate_percent < 0.5 and found.turn_deg < 0.5 and found.abs_rel < 0.08
    # The focal length hardly shows here: the usual one must not be left for nothing.
    assert abs(found.focal_percent) < 10


@pytest.mark.parametrize("size", [(192, 256), (355, 241)], ids=["portrait", "odd"])
def test_other_shapes(size: tuple[int, int], tmp_path: Path) -> None:
    clip = walk_clip(8, size=size, fps=4.0)
    scene = reconstruct(clip.images, tmp_path)
    found = figures(scene, clip)
    assert scene.depth(0).shape == size[::-1] and scene.moving(3).shape == size[::-1]
    assert found.ate_percent < 0.6 and found.turn_deg < 0.4 and abs(found.focal_percent) < 10


def noisy(image: np.ndarray) -> np.ndarray:
    return image + np.random.default_rng(int(image.sum())).normal(0, 12, image.shape)


def dull(image: np.ndarray) -> np.ndarray:
    return 110 + 0.25 * (cv2.GaussianBlur(image, (0, 0), 4) - 110)


@pytest.mark.parametrize("change", [noisy, dull])
def test_poor_images_give_rough_but_sane_cameras(change: object, tmp_path: Path) -> None:
    clip = painted(walk_clip(10), change)  # type: ignore[arg-type]
    found = figures(reconstruct(clip.images, tmp_path), clip)
    assert found.ate_percent < 3 and found.turn_deg < 2 and abs(found.focal_percent) < 25


def test_fast_motion(tmp_path: Path) -> None:
    clip = walk_clip(6, fps=2.0)
    found = figures(reconstruct(clip.images, tmp_path), clip)
    assert found.ate_percent < 0.6 and found.turn_deg < 0.5 and abs(found.focal_percent) < 10


def test_known_focal_is_kept(tmp_path: Path) -> None:
    clip = walk_clip(8)
    camera = CameraOptions(focal=float(clip.k[0, 0]))
    scene = reconstruct(clip.images, tmp_path, camera=camera)
    np.testing.assert_allclose(scene.intrinsics, np.repeat(clip.k[None], 8, 0))
    assert figures(scene, clip).ate_percent < 2


@pytest.mark.parametrize("known", [range(8), [0, 2, 3, 7]], ids=["all", "some"])
def test_known_poses_are_kept_in_their_unit(known: object, tmp_path: Path) -> None:
    clip = walk_clip(8)
    chosen = list(known)  # type: ignore[call-overload]
    poses = clip.world_from_cam.copy()
    poses[:, :3, 3] *= 1000  # millimetres
    np.savez(
        tmp_path / "poses.npz",
        world_from_cam=poses[chosen],
        K=np.repeat(clip.k[None], len(chosen), 0),
        time=np.array(chosen) / 30,
        frame=np.array(chosen),
    )
    camera = CameraOptions(poses=str(tmp_path / "poses.npz"))
    scene = reconstruct(clip.images, tmp_path / "images", camera=camera)
    np.testing.assert_allclose(scene.world_from_cam[chosen], poses[chosen], atol=1e-6)
    off = np.linalg.norm(scene.world_from_cam[:, :3, 3] - poses[:, :3, 3], axis=1)
    assert off.max() < 0.05 * np.linalg.norm(poses[-1, :3, 3])
    depth = np.median(np.stack([scene.depth(i) for i in range(8)]))
    assert 0.85 < depth / (1000 * np.median(clip.depth)) < 1.15
    assert scene.scale == "known-camera"


def test_known_poses_in_one_place_have_no_depth(tmp_path: Path) -> None:
    clip = rendered("rotate", n_frames=10, size=SIZE, fps=3.5)
    np.savez(
        tmp_path / "poses.npz",
        world_from_cam=clip.world_from_cam,
        K=np.repeat(clip.k[None], 10, 0),
        time=np.arange(10) / 30,
        frame=np.arange(10),
    )
    camera = CameraOptions(poses=str(tmp_path / "poses.npz"))
    scene = reconstruct(clip.images, tmp_path / "images", camera=camera)
    assert "hardly move" in only_warning(scene)
    np.testing.assert_allclose(scene.world_from_cam, clip.world_from_cam, atol=1e-6)
    assert is_constant_depth_at_confidence_one(scene)


def test_given_masks_win(tmp_path: Path) -> None:
    clip = walk_clip(8)
    masks = tmp_path / "masks"
    masks.mkdir()
    for i, moving in enumerate(clip.moving):
        cv2.imwrite(str(masks / f"{i}.png"), 255 * moving.astype(np.uint8))
    scene = reconstruct(clip.images, tmp_path / "images", camera=CameraOptions(masks=str(masks)))
    for i in range(8):
        np.testing.assert_array_equal(scene.moving(i), clip.moving[i])


def test_masks_over_everything_leave_nothing_to_match(tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    masks.mkdir()
    for i in range(4):
        cv2.imwrite(str(masks / f"{i}.png"), np.full(SIZE[::-1], 255, np.uint8))
    with pytest.raises(SolveError, match="in common") as raised:
        reconstruct(
            walk_clip().images[:4], tmp_path / "images", camera=CameraOptions(masks=str(masks))
        )
    assert "masked" in raised.value.hint


def test_motion_can_be_switched_off(tmp_path: Path) -> None:
    clip = rendered("static", n_frames=8, size=SIZE)
    scene = reconstruct(clip.images[:4], tmp_path, motion=MotionOptions(enabled=False))
    assert not any(scene.moving(i).any() for i in range(4))
