from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from align3r.datasets.truth import Truth
from align3r.datasets.truth_files import read_rendered, read_rgbd, read_truth
from align3r.errors import InputError
from align3r.evaluate.score import score
from align3r.reconstruction import Reconstruction

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLE = REPOSITORY / "examples" / "clip_truth.npz"
DATA = Path(os.environ.get("ALIGN3R_TEST_DATA", REPOSITORY.parent / "shared" / "data"))


@dataclass(frozen=True)
class Arrays:
    """Frame maps in memory."""

    depths: np.ndarray
    masks: np.ndarray

    def depth(self, i: int) -> np.ndarray:
        return self.depths[i]

    def moving(self, i: int) -> np.ndarray:
        return self.masks[i]

    def confidence(self, i: int) -> np.ndarray:
        return np.ones_like(self.depths[i])

    def image(self, i: int) -> np.ndarray:
        raise AssertionError("scores look at no picture")


def perfect(truth: Truth, frames: list[int], scale: float = 1.0) -> Reconstruction:
    """The truth itself as a reconstruction, in another unit."""
    stride, (w, h) = truth.depth_stride, truth.size
    depths = [np.kron(truth.depth(i), np.ones((stride, stride)))[:h, :w] for i in frames]
    poses = truth.world_from_cam[frames].copy()
    poses[:, :3, 3] *= scale
    masks = [np.zeros((h, w), bool) if truth.moving is None else truth.moving(i) for i in frames]
    return Reconstruction(
        world_from_cam=poses,
        intrinsics=truth.intrinsics[frames],
        times=truth.times[frames],
        frame_index=np.array(frames),
        size=truth.size,
        maps=Arrays(scale * np.stack(depths), np.stack(masks)),
    )


@pytest.fixture(scope="module")
def truth() -> Truth:
    return read_truth(EXAMPLE)


def test_the_truth_scores_perfectly_in_any_unit_and_any_choice_of_frames(truth: Truth) -> None:
    got = score(perfect(truth, [2, 3, 9, 20, 35], scale=0.3), truth)
    for key in ("ate_m", "ate_percent", "focal_error_percent", "abs_rel", "abs_rel_moving"):
        assert got[key] == pytest.approx(0, abs=1e-6), key
    assert got["scale_gap_percent"] == pytest.approx(0, abs=1e-4)
    for key in ("delta1", "delta1_static", "delta1_moving", "mask_iou"):
        assert got[key] == 1.0, key
    assert got["frames"] == 5
    assert got["depth_missing"] == 0


def test_each_error_shows_in_its_own_figure(truth: Truth) -> None:
    frames = list(range(0, 36, 5))
    good = perfect(truth, frames)
    assert isinstance(good.maps, Arrays)
    k = good.intrinsics.copy()
    k[:, :2, :2] *= 1.07
    focal = score(replace(good, intrinsics=k), truth)
    assert focal["focal_error_percent"] == pytest.approx(7.0)
    assert focal["abs_rel"] == pytest.approx(0, abs=1e-6)

    depth = np.where(good.maps.masks, 1.3 * good.maps.depths, good.maps.depths)
    moved = score(replace(good, maps=replace(good.maps, depths=depth)), truth)
    assert moved["abs_rel_moving"] == pytest.approx(0.3, rel=1e-3)
    assert moved["abs_rel_static"] < 1e-6
    assert moved["delta1_moving"] == 0.0

    depth = good.maps.depths.copy()
    depth[0] = np.nan
    holes = score(replace(good, maps=replace(good.maps, depths=depth)), truth)
    assert holes["depth_missing"] == pytest.approx(1 / len(frames))
    assert holes["abs_rel"] == pytest.approx(1 / len(frames), rel=1e-6)

    nothing = replace(good.maps, masks=np.zeros_like(good.maps.masks))
    assert score(replace(good, maps=nothing), truth)["mask_iou"] == 0.0

    poses = good.world_from_cam.copy()
    poses[3, :3, 3] += 0.1
    path = score(replace(good, world_from_cam=poses), truth)
    assert 0.01 < path["ate_m"] < 0.1
    assert path["ate_percent"] == pytest.approx(100 * path["ate_m"] / path["path_m"])


def test_a_camera_that_stands_still_is_scored_with_the_scale_of_the_depth(truth: Truth) -> None:
    still = replace(truth, world_from_cam=np.tile(np.eye(4), (36, 1, 1)))
    scene = perfect(still, [0, 1, 2], scale=0.5)
    assert score(scene, still)["ate_m"] == pytest.approx(0, abs=1e-9)
    poses = scene.world_from_cam.copy()
    poses[:, 0, 3] = [-0.1, 0.0, 0.1]
    wrong = score(replace(scene, world_from_cam=poses), still)
    assert wrong["ate_m"] == pytest.approx(2.0 * 0.1 * np.sqrt(2 / 3), rel=1e-6)
    assert np.isnan(wrong["ate_percent"])


def test_no_true_pose_at_all_gives_no_figure_and_no_crash(truth: Truth) -> None:
    unknown = replace(truth, world_from_cam=np.full((36, 4, 4), np.nan))
    got = score(perfect(truth, [0, 1]), unknown)
    for key in ("ate_m", "ate_percent", "rpe_trans_m", "rpe_rot_deg", "scale_gap_percent"):
        assert np.isnan(got[key]), key
    assert got["abs_rel"] == 0.0


def test_frames_without_a_true_pose_are_left_out_of_the_trajectory(truth: Truth) -> None:
    poses = truth.world_from_cam.copy()
    poses[5] = np.nan
    scene = perfect(truth, [0, 5, 10, 20])
    assert score(scene, replace(truth, world_from_cam=poses))["ate_m"] < 1e-9


def test_another_video_is_refused(truth: Truth) -> None:
    scene = perfect(truth, [0, 1])
    with pytest.raises(InputError, match="384x288 frames, the truth of 10x10"):
        score(scene, replace(truth, size=(10, 10)))
    with pytest.raises(InputError, match="frame 36, the truth ends at 35"):
        score(replace(scene, frame_index=np.array([0, 36])), truth)


def write_sequence(folder: Path) -> np.ndarray:
    """A TUM-layout sequence of three frames; the pose of the last is too late to belong to it."""
    (folder / "depth").mkdir()
    (folder / "dynamic_mask").mkdir()
    camera = {"width": 8, "height": 6, "fx": 7, "fy": 7.2, "cx": 4, "cy": 3, "depth_factor": 5000}
    (folder / "camera.json").write_text(json.dumps(camera))
    (folder / "rgb.txt").write_text("# time file\n1.0 rgb/a.jpg\n1.1 rgb/b.jpg\n1.2 rgb/c.jpg\n")
    (folder / "depth.txt").write_text("0.99 depth/x.png\n1.205 depth/z.png\n")
    quat_xyzw = Rotation.from_rotvec([0.1, 0.2, 0.3]).as_quat()
    rows = [[t, 1 + t, 2, 3, *quat_xyzw] for t in (1.001, 1.099, 1.5)]
    np.savetxt(folder / "groundtruth.txt", rows, header="time tx ty tz qx qy qz qw")
    levels = np.full((6, 8), 10000, np.uint16)
    levels[0, 0] = 0
    for name in "xz":
        cv2.imwrite(str(folder / "depth" / f"{name}.png"), levels)
    mask = np.zeros((6, 8), np.uint8)
    mask[:, 3] = 255
    for name in "abc":
        cv2.imwrite(str(folder / "dynamic_mask" / f"{name}.png"), mask)
    return mask > 0


def test_tum_layout(tmp_path: Path) -> None:
    mask = write_sequence(tmp_path)
    truth = read_rgbd(tmp_path)
    assert truth.times.tolist() == [1.0, 1.1, 1.2]
    assert truth.size == (8, 6)
    np.testing.assert_allclose(truth.intrinsics[2], [[7, 0, 3.5], [0, 7.2, 2.5], [0, 0, 1]])
    np.testing.assert_allclose(truth.world_from_cam[:2, 0, 3], [2.001, 2.099])
    turn = Rotation.from_matrix(truth.world_from_cam[0, :3, :3]).as_rotvec()
    np.testing.assert_allclose(turn, [0.1, 0.2, 0.3])
    assert np.isnan(truth.world_from_cam[2]).all()
    depth = truth.depth(0)
    assert np.isnan(depth[0, 0])
    assert depth[1, 1] == 2.0
    assert np.isnan(truth.depth(1)).all(), "0.1 s away is another moment"
    assert truth.depth(2)[5, 7] == 2.0
    assert truth.moving is not None
    np.testing.assert_array_equal(truth.moving(1), mask)


def test_a_folder_that_is_no_sequence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a sequence in TUM layout") as caught:
        read_rgbd(tmp_path)
    assert "groundtruth.txt" in caught.value.hint
    with pytest.raises(InputError, match="not the truth of a rendered clip"):
        read_rendered(tmp_path / "nothing.npz")
    np.savez(tmp_path / "other.npz", a=1)
    with pytest.raises(InputError, match="not the truth of a rendered clip"):
        read_rendered(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("name", "frames", "path_m"),
    [("rgbd_static_a", 48, 1.53), ("rgbd_dynamic_composite", 32, 2.58)],
)
def test_real_sequences(name: str, frames: int, path_m: float) -> None:
    if not (DATA / name).is_dir():
        pytest.skip(f"{name} is not beside the checkout; set ALIGN3R_TEST_DATA")
    truth = read_rgbd(DATA / name)
    assert len(truth) == frames
    own = score(perfect(truth, list(range(0, frames, 6))), truth)
    assert own["ate_m"] < 1e-9
    assert own["abs_rel"] == 0.0
    steps = np.linalg.norm(np.diff(truth.world_from_cam[:, :3, 3], axis=0), axis=1)
    assert steps.sum() == pytest.approx(path_m, abs=0.01)
    assert (truth.moving is None) == (name == "rgbd_static_a")
