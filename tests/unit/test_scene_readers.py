"""What the samples of the data sets do not show: settings, other sizes, other cameras, gaps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from scipy.spatial import cKDTree

from align3r.datasets import davis, kitti, scannet, seven_scenes, spring, tartanair
from align3r.errors import InputError, UsageError

SAMPLES = Path(__file__).parents[1] / "golden" / "evaluation" / "datasets"
FLIGHT = "abandonedfactory/Easy/P000"
DRIVE = "2011_09_26_drive_0002_sync"


@pytest.fixture
def sample(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return Path(shutil.copytree(SAMPLES / request.param, tmp_path / request.param))


def of(name: str) -> Any:
    return pytest.mark.parametrize("sample", [name], indirect=True, ids=[name])


def points(truth: Any, i: int) -> np.ndarray:
    """(N, 3) points of the world that a frame has depth of."""
    depth = truth.depth(i)
    v, u = np.nonzero(~np.isnan(depth))
    rays = np.stack([u, v, np.ones_like(u)]).T @ np.linalg.inv(truth.intrinsics[i]).T
    pose = truth.world_from_cam[i]
    world: np.ndarray = (rays * depth[v, u, None]) @ pose[:3, :3].T + pose[:3, 3]
    return world


@of("tartanair")
def test_an_environment_may_be_in_a_folder_of_its_own_name(sample: Path) -> None:
    (sample / "again").mkdir()
    (sample / "abandonedfactory").rename(sample / "again" / "abandonedfactory")
    assert tartanair.names(sample) == []
    (sample / "again").rename(sample / "abandonedfactory")
    assert tartanair.names(sample) == [FLIGHT]
    assert len(tartanair.read(sample, FLIGHT)) == 4


@of("tartanair")
def test_flow_is_not_known_where_the_mask_says_hidden(sample: Path) -> None:
    path = sample / FLIGHT / "flow" / "000000_000001_mask.npy"
    mask = np.load(path)
    mask[3, 5], mask[4, 6] = 1, 100
    np.save(path, mask)
    flow = tartanair.read(sample, FLIGHT).truth.flow
    whole = tartanair.read(sample, FLIGHT, hidden_flow=True).truth.flow
    assert flow is not None and whole is not None
    np.testing.assert_array_equal(np.argwhere(np.isnan(flow(0)[..., 0])), [[3, 5], [4, 6]])
    assert not np.isnan(whole(0)).any()
    with pytest.raises(InputError, match="frame 3 is the last one"):
        flow(3)


@of("tartanair")
def test_the_right_camera_has_no_flow(sample: Path) -> None:
    at = sample / FLIGHT
    for path in [*at.glob("*/*left*"), *at.glob("*left*")]:
        path.rename(path.with_name(path.name.replace("left", "right")))
    right = tartanair.read(sample, FLIGHT, camera="right")
    assert right.truth.flow is None and right.images[0].name == "000000_right.png"
    with pytest.raises(UsageError, match="camera 'front' does not exist"):
        tartanair.read(sample, FLIGHT, camera="front")


@of("tartanair")
def test_poses_and_images_are_equally_many(sample: Path) -> None:
    path = sample / FLIGHT / "pose_left.txt"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:3]))
    with pytest.raises(InputError, match="has 3 poses, but there are 4 images"):
        tartanair.read(sample, FLIGHT)
    path.write_text("0 0 0 0 0 0 0\n" * 4)
    with pytest.raises(InputError, match="quaternion"):
        tartanair.read(sample, FLIGHT)


@of("spring")
def test_disparity_is_twice_as_large_as_the_images(sample: Path) -> None:
    path = sample / "train" / "0001" / "disp1_left" / "disp1_left_0002.dsp5"
    with h5py.File(path, "w") as file:
        file["disparity"] = np.ones((48, 64), np.float32)
    depth = spring.read(sample, "0001").truth.depth
    assert depth is not None
    with pytest.raises(InputError, match=r"disp1_left_0002.dsp5.*\(48, 64\), not 96x128"):
        depth(1)
    disparity = np.full((96, 128), 0.065, np.float32)
    disparity[0, :10:2] = [np.nan, 0, -1, np.inf, 1e-44]
    with h5py.File(path, "w") as file:
        file["disparity"] = disparity
    np.testing.assert_allclose(depth(1)[1:], 72, rtol=1e-6)
    np.testing.assert_array_equal(depth(1)[0, :5], [np.nan] * 5)


@of("kitti")
def test_images_without_depth_are_left_out_and_calibration_is_used(sample: Path) -> None:
    image = next((sample / "2011_09_26").rglob("0000000005.png"))
    shutil.copy(image, image.with_name("0000000000.png"))
    (sample / "2011_09_26" / "calib_cam_to_cam.txt").write_text(
        "calib_time: 09-Jan-2012\nP_rect_02: 721.5 0 609.5 44.8 0 721.5 172.8 0.2 0 0 1 0\n"
    )
    got = kitti.read(sample, DRIVE)
    assert got.frames == ("0000000005", "0000000006")
    assert got.remarks == ("1 images without depth are left out",)
    np.testing.assert_array_equal(
        got.truth.intrinsics[1], [[721.5, 0, 609.5], [0, 721.5, 172.8], [0, 0, 1]]
    )
    assert kitti.names(sample, split="train") == kitti.names(sample, camera="03") == []


@of("davis")
def test_what_moves_is_known_if_every_frame_is_annotated(sample: Path) -> None:
    (sample / "Annotations" / "480p" / "bear" / "00002.png").unlink()
    got = davis.read(sample, "bear")
    assert got.truth.moving is None and got.truth.depth is None
    assert got.remarks == ("1 of 3 frames have no annotation: what moves is not known",)
    (sample / "ImageSets" / "2017" / "val.txt").write_text("../../secret\ncows\n")
    assert davis.names(sample, image_set="2017/val") == [] and davis.names(sample) == ["bear"]
    with pytest.raises(UsageError, match=r"list '\.\./x' does not exist"):
        davis.names(sample, image_set="../x")


@of("davis")
def test_an_annotation_in_colours_is_refused(sample: Path) -> None:
    path = sample / "Annotations" / "480p" / "bear" / "00001.png"
    moving = davis.read(sample, "bear").truth.moving
    assert moving is not None
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(InputError, match="pixels are RGB, not indices"):
        moving(1)
    cv2.imwrite(str(path), np.zeros((24, 64), np.uint8))
    with pytest.raises(InputError, match="64x24 pixels, the images are 64x48"):
        moving(1)


def test_the_colour_camera_of_7_scenes_sees_the_same_room() -> None:
    root, name = SAMPLES / "7scenes", "chess/seq-01"
    colour, depth = (
        seven_scenes.read(root, name, camera=camera).truth for camera in ("colour", "depth")
    )
    np.testing.assert_allclose(colour.intrinsics[0], [[52.5, 0, 32], [0, 52.5, 24], [0, 0, 1]])
    for i in range(3):
        offset = np.linalg.inv(depth.world_from_cam[i]) @ colour.world_from_cam[i]
        np.testing.assert_allclose(offset[:3, 3], [0.024, 0, 0], atol=1e-12)
        ours, theirs = points(colour, i), points(depth, i)
        gap = cKDTree(theirs).query(ours)[0]
        # Half a pixel, at up to 2.5 m, in both directions.
        assert gap.max() < 2.5 / 52.5 * 0.5 * np.sqrt(2) + 1e-6


@of("7scenes")
def test_the_nearest_surface_hides_what_is_behind_it(sample: Path) -> None:
    levels = np.full((48, 64), 4000, np.uint16)
    levels[20:30, 30:34] = 500
    levels[:, :5] = 65535
    cv2.imwrite(str(sample / "chess" / "seq-01" / "frame-000000.depth.png"), levels)
    read = seven_scenes.read(sample, "chess/seq-01").truth.depth
    assert read is not None
    depth = read(0)
    # A wall at 4 m moves by 0.3 pixels to the left, a box at 0.5 m by 2.5.
    want = np.full((48, 64), 4.0)
    want[20:29, 28:31], want[21:29, 31:33] = 0.5, np.nan  # the wall beside it was hidden
    np.testing.assert_array_equal(depth[5:43, 8:59], want[5:43, 8:59])
    assert np.isnan(depth[:, :5]).all() and np.isnan(depth[:2]).all()


@of("7scenes")
def test_splits_of_7_scenes_are_read_from_their_lists(sample: Path) -> None:
    assert seven_scenes.names(sample, split="test") == ["chess/seq-01"]
    assert seven_scenes.names(sample, split="train") == []
    (sample / "chess" / "TestSplit.txt").write_text("sequence1\n../seq-02\n")
    with pytest.raises(InputError, match="no list of sequences"):
        seven_scenes.names(sample, split="test")


@of("7scenes")
def test_poses_that_tracking_has_worn_out_are_mended(sample: Path) -> None:
    path = sample / "chess" / "seq-01" / "frame-000001.pose.txt"
    path.write_text("1.004 0.003 0 1\n0.003 0.996 0 2\n0 0 1 3\n0 0 0 1\n")
    pose = seven_scenes.read(sample, "chess/seq-01", camera="depth").truth.world_from_cam[1]
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(pose[:3, 3], [1, 2, 3])


@of("7scenes")
def test_a_pose_that_is_none_is_refused(sample: Path) -> None:
    path = sample / "chess" / "seq-01" / "frame-000001.pose.txt"
    path.write_text("2 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    with pytest.raises(InputError, match=r"frame-000001\.pose\.txt are no rigid motions"):
        seven_scenes.read(sample, "chess/seq-01")


@of("scannet1500")
def test_scannet_depth_is_looked_up_where_colour_looks(sample: Path) -> None:
    scene = sample / "scannet_test_1500" / "scene0707_00"
    levels = np.arange(1, 32 * 24 + 1, dtype=np.uint16).reshape(24, 32)
    for path in scene.glob("depth/*.png"):
        cv2.imwrite(str(path), levels)
    (scene / "intrinsic" / "intrinsic_depth.txt").write_text(
        "29 0 15.7 0\n0 29.1 11.85 0\n0 0 1 0\n0 0 0 1\n"
    )
    got = scannet.read(sample, "scene0707_00").truth
    assert got.depth is not None
    # Half of the colour camera: each of its pixels is a block of 2x2.
    np.testing.assert_allclose(got.depth(0), np.kron(levels, np.ones((2, 2))) / 1000, rtol=1e-6)
    (scene / "intrinsic" / "intrinsic_depth.txt").write_text(
        "29 0 13.7 0\n0 29.1 11.85 0\n0 0 1 0\n0 0 0 1\n"
    )
    shifted = scannet.read(sample, "scene0707_00").truth.depth
    assert shifted is not None and np.isnan(shifted(0)[:, :4]).all()
    np.testing.assert_array_equal(shifted(0)[:, 4:], got.depth(0)[:, :-4])


@of("scannet1500")
def test_scannet_frames_that_are_lost_have_no_pose(sample: Path) -> None:
    scene = sample / "scannet_test_1500" / "scene0707_00"
    (scene / "pose" / "585.txt").write_text("-inf -inf -inf -inf\n" * 4)
    got = scannet.read(sample, "scene0707_00")
    assert got.remarks == ("1 of 3 frames have no pose",)
    assert np.isnan(got.truth.world_from_cam).all(axis=(1, 2)).tolist() == [False, True, False]
    scene.rename(sample / "scene0707_00")
    assert scannet.names(sample) == ["scene0707_00", "scene0708_00"]
    assert len(scannet.read(sample, "scene0707_00")) == 3
