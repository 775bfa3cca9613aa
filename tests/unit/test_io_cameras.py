"""Known cameras: pixels of the source against working pixels, poses against times."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from align3r.config import CameraOptions
from align3r.errors import InputError, UsageError
from align3r.io.cameras import read_known_cameras
from align3r.types import Frames


def frames_at(
    times: np.ndarray | list[float],
    *,
    size: tuple[int, int] = (64, 48),
    source: tuple[int, int] = (640, 480),
) -> Frames:
    n = len(times)
    images = np.zeros((n, size[1], size[0], 3), np.uint8)
    return Frames(images, np.asarray(times, np.float64), np.arange(n), source, "clip.mp4")


def some_poses(n: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    poses = np.repeat(np.eye(4)[None], n, axis=0)
    poses[:, :3, :3] = Rotation.random(n, random_state=1).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(n, 3))
    return poses


def write_trajectory(path: Path, times: np.ndarray, poses: np.ndarray) -> str:
    quat_xyzw = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    lines = [
        " ".join(f"{x:.9f}" for x in [time, *pose[:3, 3], *quat])
        for time, pose, quat in zip(times, poses, quat_xyzw, strict=True)
    ]
    path.write_text("# t tx ty tz qx qy qz qw\n" + "\n".join(lines) + "\n")
    return str(path)


def test_nothing_known() -> None:
    known = read_known_cameras(CameraOptions(), frames_at([0.0, 0.1]))
    assert known.intrinsics is None
    assert known.world_from_cam is None


def test_focal_alone_has_the_principal_point_in_the_centre() -> None:
    k = read_known_cameras(CameraOptions(focal=525.0), frames_at([0.0, 0.1])).intrinsics
    assert k is not None
    np.testing.assert_allclose(k, [[[52.5, 0, 31.5], [0, 52.5, 23.5], [0, 0, 1]]] * 2)


@given(
    u=st.floats(0, 639),
    v=st.floats(0, 479),
    cx=st.floats(200, 400),
    size=st.sampled_from([(64, 48), (320, 240), (512, 376)]),
)
def test_a_source_pixel_and_its_working_pixel_see_the_same_ray(
    u: float, v: float, cx: float, size: tuple[int, int]
) -> None:
    options = CameraOptions(intrinsics=(500.0, 510.0, cx, 250.0))
    k = read_known_cameras(options, frames_at([0.0], size=size)).intrinsics
    assert k is not None
    sx, sy = size[0] / 640, size[1] / 480
    pixel = np.array([(u + 0.5) * sx - 0.5, (v + 0.5) * sy - 0.5, 1])
    ray = np.linalg.solve(k[0], pixel)
    np.testing.assert_allclose(ray, [(u - cx) / 500, (v - 250) / 510, 1], atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        CameraOptions(focal=500.0, intrinsics=(500.0, 500.0, 320.0, 240.0)),
        CameraOptions(focal=0.0),
        CameraOptions(focal=float("nan")),
        CameraOptions(intrinsics=(500.0, -500.0, 320.0, 240.0)),
    ],
)
def test_contradictions_are_usage_errors(options: CameraOptions) -> None:
    with pytest.raises(UsageError) as caught:
        read_known_cameras(options, frames_at([0.0]))
    assert caught.value.exit_code == 2


def test_trajectory_is_matched_by_time(tmp_path: Path) -> None:
    times, poses = np.array([0.32, 0.0, 0.098, 0.5]), some_poses(4)
    path = write_trajectory(tmp_path / "gt.txt", times, poses)
    known = read_known_cameras(CameraOptions(poses=path), frames_at([0, 0.1, 0.2, 0.3]))
    found = known.world_from_cam
    assert found is not None
    np.testing.assert_allclose(found[[0, 1, 3]], poses[[1, 2, 0]], atol=1e-8)
    assert np.isnan(found[2]).all(), "0.2 s has no pose within 0.05 s"


def test_one_pose_is_enough_for_one_frame_only(tmp_path: Path) -> None:
    poses = some_poses(1)
    path = write_trajectory(tmp_path / "gt.txt", np.array([0.1]), poses)
    found = read_known_cameras(CameraOptions(poses=path), frames_at([0.1])).world_from_cam
    assert found is not None
    np.testing.assert_allclose(found[0], poses[0], atol=1e-8)
    with pytest.raises(InputError, match=r"only one of 3 frames gets a pose .* which holds 1"):
        read_known_cameras(CameraOptions(poses=path), frames_at([0, 0.1, 0.2]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (CameraOptions(focal=np.inf), "inf, inf, .* are not finite"),
        (CameraOptions(intrinsics=(9.0, 9.0, np.nan, 2.0)), "9, 9, nan, 2 are not finite"),
        (CameraOptions(focal=-3.0), "-3, -3 are not positive"),
        (CameraOptions(focal=1e12), "1e\\+12, 1e\\+12 are of no camera"),
    ],
)
def test_intrinsics_that_are_none(options: CameraOptions, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read_known_cameras(options, frames_at([0]))


def test_cameras_npz(tmp_path: Path) -> None:
    poses = some_poses(3)
    poses[1] = np.nan
    np.savez(tmp_path / "cameras.npz", world_from_cam=poses, time=np.array([0, 0.1, 0.2]))
    options = CameraOptions(poses=str(tmp_path / "cameras.npz"))
    found = read_known_cameras(options, frames_at([0, 0.1, 0.2])).world_from_cam
    np.testing.assert_array_equal(found, poses)


def test_no_pose_at_any_frame(tmp_path: Path) -> None:
    path = write_trajectory(tmp_path / "gt.txt", np.array([100.0, 101.0]), some_poses(2))
    with pytest.raises(InputError, match=r"none of the 2 poses .* 100\.000 to 101\.000 s"):
        read_known_cameras(CameraOptions(poses=path), frames_at([0, 0.1]))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gt.txt", b"1 2 3\n", "no camera poses"),
        ("gt.txt", b"one two three\n", "no camera poses"),
        ("gt.txt", b"1 0 0 0 0 0 0 1\n2 0 0 0\n", "no camera poses"),
        ("gt.txt", b"", "no camera poses"),
        ("gt.txt", b"0 0 0 0 0 0 0 0\n", "quaternion"),
        ("gt.txt", b"0 0 nan 0 0 0 0 1\n", "no camera poses"),
        ("gt.txt", b"\xff\xfe\x00", "no camera poses"),
        ("gt.npz", b"", "no camera poses"),
        ("gt.npz", b"not a zip", "no camera poses"),
    ],
)
def test_files_without_poses(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        read_known_cameras(CameraOptions(poses=str(tmp_path / name)), frames_at([0.0, 0.1]))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("name", ["missing.txt", "missing.npz"])
def test_missing_files(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_known_cameras(CameraOptions(poses=str(tmp_path / name)), frames_at([0.0]))


def test_npz_without_the_arrays_or_with_objects(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", poses=np.eye(4))
    np.savez(tmp_path / "b.npz", time=np.zeros(2), world_from_cam=np.eye(4))
    np.savez(tmp_path / "c.npz", time=np.array([{}]), world_from_cam=np.eye(4)[None])
    for name in "abc":
        with pytest.raises(InputError, match="no camera poses"):
            read_known_cameras(CameraOptions(poses=str(tmp_path / f"{name}.npz")), frames_at([0.0]))


def test_rough_poses_have_standard_deviations_for_every_frame(tmp_path: Path) -> None:
    times = np.arange(4) * 0.1
    poses = write_trajectory(tmp_path / "poses.txt", times, some_poses(4))
    known = read_known_cameras(CameraOptions(poses=poses, pose_sigma=(1.0, 0.05)), frames_at(times))
    np.testing.assert_array_equal(known.pose_sigma, [[1.0, 0.05]] * 4)
    assert known.exact.world_from_cam is None


@pytest.mark.parametrize("sigma", [(0.0, 0.1), (1.0, -1.0), (np.nan, 0.1), (1.0, np.inf)])
def test_standard_deviations_are_positive_numbers(tmp_path: Path, sigma: tuple) -> None:
    times = np.arange(3) * 0.1
    poses = write_trajectory(tmp_path / "poses.txt", times, some_poses(3))
    with pytest.raises(UsageError, match="standard deviations of"):
        read_known_cameras(CameraOptions(poses=poses, pose_sigma=sigma), frames_at(times))


def test_standard_deviations_without_poses_are_an_error() -> None:
    with pytest.raises(UsageError, match="no poses"):
        read_known_cameras(CameraOptions(pose_sigma=(1.0, 0.1)), frames_at([0.0, 0.1]))
