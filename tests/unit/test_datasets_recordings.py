"""Formats of videos with depth and poses, and what the options of their readers do."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from align3r.datasets import bonn, sceneflow, sintel, tum
from align3r.datasets.stamped import Pairing
from align3r.errors import InputError, TooLargeError, UsageError
from align3r.io.pfm import read_pfm
from align3r.io.png import write_depth_png, write_image
from align3r.io.sintel_files import read_cam, read_dpt, read_flo

TAG = struct.pack("<f", 202021.25)


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def poses(n: int) -> np.ndarray:
    out = np.tile(np.eye(4), (n, 1, 1))
    out[:, :3, :3] = Rotation.random(n, random_state=0).as_matrix()
    out[:, :3, 3] = np.arange(3 * n).reshape(n, 3)
    return out


def test_pfm_has_its_rows_from_the_bottom_up(tmp_path: Path) -> None:
    path = tmp_path / "a.pfm"
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    path.write_bytes(b"Pf\n3 2\n-1.0\n" + values[::-1].tobytes())
    np.testing.assert_array_equal(read_pfm(path), values)
    path.write_bytes(b"Pf\n3 2\n1\n" + values[::-1].astype(">f4").tobytes())
    np.testing.assert_array_equal(read_pfm(path), values)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"Pf\n3 2\n-1.0\n" + bytes(23),
        b"Pf 3 2 -1\n" + bytes(25),
        b"Pf 0 2 -1\n",
        b"P5 1 1 -1\n",
    ],
)
def test_what_is_no_pfm_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pfm").write_bytes(data)
    with pytest.raises(InputError, match=r"a\.pfm"):
        read_pfm(tmp_path / "a.pfm")


@pytest.mark.parametrize(
    ("read", "data"),
    [
        (read_pfm, b"Pf\n999999 999999\n-1.0\n"),
        (read_dpt, TAG + struct.pack("<ii", 999999, 999999)),
        (read_flo, TAG + struct.pack("<ii", 1 << 30, 1 << 30)),
    ],
)
def test_a_header_takes_no_memory(read: object, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(TooLargeError):
        read(tmp_path / "a")  # type: ignore[operator]


def test_sintels_files(tmp_path: Path) -> None:
    path, size = tmp_path / "a", struct.pack("<ii", 3, 2)
    depth = np.arange(6, dtype="<f4").reshape(2, 3)
    path.write_bytes(TAG + size + depth.tobytes())
    np.testing.assert_array_equal(read_dpt(path), depth)
    flow = np.arange(12, dtype="<f4").reshape(2, 3, 2)
    flow[0, 1, 0] = 1e10
    path.write_bytes(TAG + size + flow.tobytes())
    got = read_flo(path)
    assert np.isnan(got[0, 1]).all()
    np.testing.assert_array_equal(got[1], flow[1])
    path.write_bytes(TAG + np.arange(21, dtype="<f8").tobytes())
    k, pose = read_cam(path)
    assert (k[1, 0], pose[0, 0], pose[2, 3]) == (3, 9, 20)


@pytest.mark.parametrize(
    "data", [b"", TAG, TAG + bytes(8), TAG + struct.pack("<ii", 1, 1), b"PIEHX" + bytes(200)]
)
def test_what_is_none_of_sintels_files(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(data)
    for read in (read_dpt, read_flo, read_cam):
        with pytest.raises(InputError):
            read(tmp_path / "a")


def test_pairing_takes_each_partner_once_or_the_nearest_or_the_row() -> None:
    stamps, others = np.array([0.0, 0.01, 0.5]), np.array([0.511, 0.004])
    assert Pairing().partners(stamps, others).tolist() == [1, -1, 0]
    assert Pairing(association="nearest").partners(stamps, others).tolist() == [1, 1, 0]
    assert Pairing(within=0.005).partners(stamps, others).tolist() == [1, -1, -1]
    assert Pairing(association="rows").partners(stamps, others).tolist() == [0, 1, -1]
    for wrong in ({"association": "first"}, {"need": "all"}):
        with pytest.raises(UsageError):
            Pairing(**wrong)  # type: ignore[arg-type]


def recording(root: Path, name: str, size: tuple[int, int] = (640, 480)) -> Path:
    """Two frames of a camera that turns, in TUM's layout."""
    folder = root / name
    for kind in ("rgb", "depth"):
        (folder / kind).mkdir(parents=True)
        lines = [f"{t} {kind}/{t}.png" for t in ("100.0", "100.1")]
        (folder / f"{kind}.txt").write_text("# head\n" + "\n".join(lines), encoding="utf-8")
    for t in ("100.0", "100.1"):
        write_image(np.full((size[1], size[0], 3), 90, np.uint8), folder / "rgb" / f"{t}.png")
        write_depth_png(np.full(size[::-1], 2.0), folder / "depth" / f"{t}.png", per_unit=5000)
    (folder / "groundtruth.txt").write_text("100 0 0 0 0 0 0 2\n100.1 1 0 0 0 0 1 1\n")
    return folder


@pytest.mark.parametrize("digit", ["1", "2", "3"])
def test_the_camera_of_tum_is_in_the_name_of_the_folder(digit: str, tmp_path: Path) -> None:
    name = f"rgbd_dataset_freiburg{digit}_xyz"
    recording(tmp_path, name)
    sequence = tum.read(tmp_path, name)
    k = sequence.truth.intrinsics[1]
    assert (k[0, 0], k[1, 1], k[0, 2], k[1, 2]) == tum.CAMERAS[digit]
    assert sequence.truth.depth is not None
    assert (sequence.truth.depth(0) == 2).all()
    np.testing.assert_allclose(
        sequence.truth.world_from_cam[1][:2, :2], [[0, -1], [1, 0]], atol=1e-9
    )


def test_the_camera_of_other_recordings_is_not_known(tmp_path: Path) -> None:
    recording(tmp_path, "mine")
    unknown = tum.read(tmp_path, "mine")
    assert np.isnan(unknown.truth.intrinsics).all()
    assert "the camera of images of 640x480 pixels is not known" in unknown.remarks
    k = tum.read(tmp_path, "mine", intrinsics=(500, 500, 319.5, 239.5)).truth.intrinsics
    assert k[0, 0, 0] == 500
    recording(tmp_path, "rgbd_bonn_small", size=(320, 240))
    assert "320x240" in bonn.read(tmp_path, "rgbd_bonn_small").remarks[-1]
    with pytest.raises(UsageError, match="are no camera"):
        tum.read(tmp_path, "mine", intrinsics=(0, 500, 319.5, 239.5))


def test_recordings_at_other_times_have_no_frame(tmp_path: Path) -> None:
    folder = recording(tmp_path, "rgbd_bonn_a")
    assert bonn.names(tmp_path) == ["rgbd_bonn_a"]
    assert bonn.read(tmp_path, "rgbd_bonn_a").truth.intrinsics[0, 0, 0] == bonn.CAMERA[0]
    (folder / "groundtruth.txt").write_text("7 0 0 0 0 0 0 1\n")
    with pytest.raises(InputError, match="none of the 2 images"):
        bonn.read(tmp_path, "rgbd_bonn_a")


def test_driving_and_monkaa_have_folders_and_cameras_of_their_own(tmp_path: Path) -> None:
    row = " ".join(str(x) for x in np.eye(4).ravel())
    names = [
        "15mm_focallength/scene_backwards/fast/left",
        "35mm_focallength/a/b/right",
        "tree/left",
    ]
    for name in names:
        touch(tmp_path / "frames_finalpass_webp" / name / "0001.x")
        write_image(
            np.zeros((540, 960, 3), np.uint8),
            tmp_path / "frames_finalpass_webp" / name / "0001.png",
        )
        touch(tmp_path / "disparity" / name / "0001.pfm")
        text = tmp_path / "camera_data" / Path(name).parent / "camera_data.txt"
        touch(text)
        text.write_text(f"Frame 1\nL {row}\nR {row}\n\nFrame 2\nL {row}\nR {row}\n")
    (tmp_path / "disparity" / names[0] / "0001.pfm").write_bytes(
        b"Pf\n960 540\n-1\n" + np.tile(np.array([2, 0, -1], "<f4"), 320 * 540).tobytes()
    )
    assert sceneflow.names(tmp_path) == names
    driving, other, monkaa = (sceneflow.read(tmp_path, name) for name in names)
    assert [s.truth.intrinsics[0, 0, 0] for s in (driving, other, monkaa)] == [450, 1050, 1050]
    assert driving.remarks == ("1 of 2 poses have no image",)
    assert driving.truth.depth is not None
    depth = driving.truth.depth(0)
    assert (depth[:, ::3] == 225).all()
    assert np.isnan(depth[:, 1::3]).all()
    np.testing.assert_array_equal(driving.truth.world_from_cam[0], np.diag([1.0, -1, -1, 1]))


def test_sintel_without_flow_says_so(tmp_path: Path) -> None:
    k = np.array([[50.0, 0, 1.5], [0, 50, 1], [0, 0, 1]])
    folder = tmp_path / "training"
    for i in (1, 2):
        touch(
            folder / "final" / "a" / "x", folder / "depth" / "a" / "x", folder / "camdata_left/a/x"
        )
        write_image(np.zeros((3, 4, 3), np.uint8), folder / "final" / "a" / f"frame_000{i}.png")
        depth = struct.pack("<ii", 4, 3) + np.full(12, 7 - 9.0 * (i - 1), "<f4").tobytes()
        (folder / "depth" / "a" / f"frame_000{i}.dpt").write_bytes(TAG + depth)
        cam = np.concatenate([k.ravel(), poses(i)[-1][:3].ravel()]).astype("<f8")
        (folder / "camdata_left" / "a" / f"frame_000{i}.cam").write_bytes(TAG + cam.tobytes())
    assert sintel.names(tmp_path) == []
    sequence = sintel.read(tmp_path, "a", rendering="final")
    assert sequence.truth.moving is None
    assert sequence.truth.flow is None
    assert "no flow" in sequence.remarks[0]
    np.testing.assert_allclose(
        sequence.truth.world_from_cam[1] @ poses(2)[-1], np.eye(4), atol=1e-9
    )
    assert sequence.truth.depth is not None
    assert (sequence.truth.depth(0) == 7).all()
    assert np.isnan(sequence.truth.depth(1)).all()
