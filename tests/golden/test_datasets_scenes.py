"""Readers of TartanAir, Spring, Hypersim, KITTI, DAVIS, 7-Scenes and ScanNet on their samples."""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from align3r.datasets.sequence import Sequence
from align3r.errors import Align3rError, InputError

SAMPLES = Path(__file__).parent / "evaluation" / "datasets"


class Sample(NamedTuple):
    module: str
    folder: str
    name: str
    settings: Mapping[str, Any] = {}


FULL = [
    Sample("tartanair", "tartanair", "abandonedfactory/Easy/P000"),
    Sample("spring", "spring", "0001"),
    Sample("hypersim", "hypersim", "ai_001_001/cam_00"),
    Sample("seven_scenes", "7scenes", "chess/seq-01", {"camera": "depth"}),
]
ALL = [
    *FULL,
    Sample("seven_scenes", "7scenes", "chess/seq-01", {"split": "test"}),
    Sample("kitti", "kitti", "2011_09_26_drive_0002_sync"),
    Sample("davis", "davis", "bear", {"image_set": "2017/val"}),
    Sample("scannet", "scannet1500", "scene0707_00"),
]


def module(sample: Sample) -> Any:
    return importlib.import_module(f"align3r.datasets.{sample.module}")


def read(sample: Sample, root: Path | None = None) -> Sequence:
    root = root or SAMPLES / sample.folder
    sequence: Sequence = module(sample).read(root, sample.name, **sample.settings)
    return sequence


def expected(sample: Sample) -> Any:
    return json.loads((SAMPLES / f"{sample.folder}.expected.json").read_text(encoding="utf-8"))


def probes(rows: list[list[float | None]]) -> tuple[np.ndarray, ...]:
    table = np.array(rows, np.float64)
    return tuple(table[:, :2].astype(int).T[::-1]), table[:, 2:]


@pytest.fixture
def sample_at(tmp_path: Path) -> Iterator[Any]:
    def copy(sample: Sample) -> Path:
        return Path(shutil.copytree(SAMPLES / sample.folder, tmp_path / sample.folder))

    return copy


@pytest.mark.parametrize("sample", ALL, ids=lambda sample: sample.module)
def test_names_are_those_that_are_there(sample: Sample) -> None:
    names = module(sample).names(SAMPLES / sample.folder, **sample.settings)
    assert sample.name in names and names == sorted(names)


@pytest.mark.parametrize("sample", ALL, ids=lambda sample: sample.module)
def test_a_root_of_something_else_holds_nothing(sample: Sample, tmp_path: Path) -> None:
    settings = {k: v for k, v in sample.settings.items() if k != "image_set"}
    assert module(sample).names(tmp_path, **settings) == []
    with pytest.raises(InputError, match="no sequence"):
        module(sample).read(tmp_path, sample.name, **settings)


@pytest.mark.parametrize("sample", FULL, ids=lambda sample: sample.module)
def test_frames_are_those_of_the_upstream_readers(sample: Sample) -> None:
    want, got = expected(sample), read(sample)
    root = SAMPLES / want["root"]
    assert list(got.frames) == [frame["id"] for frame in want["frames"]]
    assert len(got.truth) == len(got) == len(want["frames"])
    for i, frame in enumerate(want["frames"]):
        assert got.truth.size == tuple(frame["size_wh"])
        np.testing.assert_allclose(got.truth.intrinsics[i], frame["K"], rtol=1e-6)
        np.testing.assert_allclose(got.truth.world_from_cam[i], frame["c2w"], atol=1e-5)
        if got.images:
            assert got.images[i] == root / frame["rgb"]


@pytest.mark.parametrize("sample", FULL, ids=lambda sample: sample.module)
def test_depth_is_that_of_the_upstream_readers(sample: Sample) -> None:
    got = read(sample).truth
    for i, frame in enumerate(expected(sample)["frames"]):
        assert got.depth is not None
        depth = got.depth(i)
        assert depth.dtype == np.float32 and depth.shape[::-1] == got.size
        where, values = probes(frame["depth_probes_xy_z"])
        np.testing.assert_allclose(depth[where], values[:, 0], rtol=1e-5)
        check_statistics(depth, frame["depth_stats"])


def check_statistics(depth: np.ndarray, want: Mapping[str, float]) -> None:
    known = depth[~np.isnan(depth)].astype(np.float64)
    assert len(known) == want["n_valid"]
    got = [known.min(), known.max(), known.mean()]
    np.testing.assert_allclose(got, [want["min"], want["max"], want["mean"]], rtol=1e-5)


@pytest.mark.parametrize("sample", FULL, ids=lambda sample: sample.module)
def test_images_are_those_of_the_upstream_readers(sample: Sample) -> None:
    got = read(sample)
    for i, frame in enumerate(expected(sample)["frames"]):
        image = got.image(i)
        assert image.dtype == np.uint8 and image.shape[1::-1] == got.truth.size
        if "tonemapped_mean" in frame:
            where, values = probes(frame["tonemapped_probes"])
            np.testing.assert_allclose(image[where] / 255, values, atol=0.51 / 255)
            mean = np.array(frame["tonemapped_mean"]) * 255
            np.testing.assert_allclose(image.mean(axis=(0, 1)), mean, atol=0.1)
        else:
            where, values = probes(frame["rgb_probes_xy_rgb"])
            np.testing.assert_array_equal(image[where], values)
            np.testing.assert_allclose(image.mean(axis=(0, 1)), frame["rgb_mean"], atol=1e-3)


@pytest.mark.parametrize(
    "sample", [s for s in FULL if s.module != "hypersim"], ids=lambda sample: sample.module
)
def test_a_static_pixel_is_found_again_in_the_next_frame(sample: Sample) -> None:
    truth = read(sample).truth
    assert truth.depth is not None
    rows = np.array(expected(sample)["reproject_0_to_1"])
    u, v = rows[:, :2].T
    k0, k1 = truth.intrinsics[:2]
    points = np.stack([u, v, np.ones_like(u)]) * truth.depth(0)[v.astype(int), u.astype(int)]
    motion = np.linalg.inv(truth.world_from_cam[1]) @ truth.world_from_cam[0]
    seen = k1 @ (motion[:3, :3] @ np.linalg.inv(k0) @ points + motion[:3, 3:])
    got = np.stack([*(seen[:2] / seen[2]), seen[2]], axis=1)
    np.testing.assert_allclose(got, rows[:, 2:], atol=2e-3)


def test_tartanair_flow_is_where_static_pixels_go() -> None:
    sample = FULL[0]
    truth = read(sample).truth
    assert truth.flow is not None
    rows = np.array(expected(sample)["reproject_0_to_1"])
    u, v = rows[:, :2].T.astype(int)
    got = truth.flow(0)[v, u]
    static = np.abs(got - (rows[:, 2:4] - rows[:, :2])).max(axis=1) < 1e-3
    assert static.sum() >= 8


def test_kitti_pairs_depth_with_images_by_name() -> None:
    sample = ALL[5]
    got = read(sample)
    for i, frame in enumerate(expected(sample)["frames"]):
        assert got.frames[i] == frame["id"]
        assert got.images[i] == SAMPLES / "kitti" / frame["rgb"]
        assert got.truth.depth is not None
        depth = got.truth.depth(i)
        check_statistics(depth, frame["depth_stats"])
        for row, column, z in frame["first_valid_rc_z"]:
            assert depth[row, column] == pytest.approx(z)
    assert np.isnan(got.truth.world_from_cam).all() and np.isnan(got.truth.intrinsics).all()
    assert np.diff(got.truth.times) == pytest.approx([0.1])


def test_davis_objects_are_numbers_not_colours() -> None:
    from align3r.datasets.davis import read_objects

    sample = ALL[6]
    got = read(sample)
    for i, frame in enumerate(expected(sample)["frames"]):
        path = SAMPLES / "davis" / "Annotations" / "480p" / "bear" / f"{frame['id']}.png"
        counts = np.bincount(read_objects(path, got.truth.size).ravel(), minlength=3)
        assert {str(k): int(counts[k]) for k in (1, 2)} == frame["object_pixels"]
        assert got.truth.moving is not None
        assert got.truth.moving(i).sum() == sum(frame["object_pixels"].values())


def test_scannet_poses_are_those_of_the_pairs() -> None:
    sample = ALL[7]
    got = read(sample)
    assert got.frames == ("15", "585", "1230")
    assert got.truth.times == pytest.approx([0.5, 19.5, 41.0])
    pose = dict(zip(got.frames, got.truth.world_from_cam, strict=True))
    for pair in (pair for pair in expected(sample)["pairs"] if pair["scene"] == sample.name):
        motion = np.linalg.inv(pose[str(pair["j"])]) @ pose[str(pair["i"])]
        np.testing.assert_allclose(motion, pair["rel_pose_0to1"], atol=1e-5)
    np.testing.assert_allclose(got.truth.intrinsics[0], [[58, 0, 31.9], [0, 58.2, 24.2], [0, 0, 1]])


def everything(sample: Sample, root: Path) -> None:
    """Read all that there is to be read."""
    sequence = read(sample, root)
    for i in range(len(sequence)):
        sequence.image(i)
        for layer in (sequence.truth.depth, sequence.truth.moving):
            if layer is not None:
                layer(i)
        if sequence.truth.flow is not None and i + 1 < len(sequence):
            sequence.truth.flow(i)


def broken(data: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    yield b""
    data = data or b"x"
    yield data[: len(data) // 2]
    yield data[:-1]
    for count in (1, 3, 30):
        flipped = np.frombuffer(data, np.uint8).copy()
        flipped[rng.integers(0, len(data), count)] ^= rng.integers(1, 256, count, dtype=np.uint8)
        yield flipped.tobytes()
    yield b"nan inf 1e999 \xff\x00 -1\n" * 8
    yield data + data


@pytest.mark.parametrize("sample", ALL, ids=lambda s: f"{s.module}{dict(s.settings) or ''}")
def test_broken_files_are_refused_in_words(sample: Sample, sample_at: Any) -> None:
    root = sample_at(sample)
    rng = np.random.default_rng(0)
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        whole = path.read_bytes()
        for data in broken(whole, rng):
            path.write_bytes(data)
            try:
                everything(sample, root)
            except Align3rError as error:
                assert error.hint and "\n" not in str(error)
        path.write_bytes(whole)


MISSING = [
    (ALL[0], "depth_left/000002_left_depth.npy", "1 of the 4 files"),
    (ALL[0], "pose_left.txt", "no such file"),
    (ALL[0], "image_left/000002_left.png", "1 of the 4 files"),
    (ALL[0], "flow/000001_000002_mask.npy", "1 of the 3 files"),
    (ALL[1], "disp1_left/disp1_left_0002.dsp5", "1 of the 3 files"),
    (ALL[1], "frame_left/frame_left_0002.png", "1 of the 3 files"),
    (ALL[1], "cam_data/extrinsics.txt", "no such file"),
    (ALL[2], "frame.0001.depth_meters.hdf5", "1 of the 3 files"),
    (ALL[2], "frame.0001.render_entity_id.hdf5", "1 of the 3 files"),
    (ALL[2], "metadata_camera_parameters.csv", "no such file"),
    (ALL[2], "camera_keyframe_positions.hdf5", "no such file"),
    (ALL[3], "frame-000001.depth.png", "1 of the 3 files"),
    (ALL[3], "frame-000001.pose.txt", "1 of the 3 files"),
    (ALL[3], "frame-000001.color.png", "1 of the 3 files"),
    (ALL[6], "JPEGImages/480p/bear/00001.jpg", "1 of the 3 files"),
    (ALL[7], "scene0707_00/color/585.jpg", "1 of the 3 files"),
    (ALL[5], "data/0000000006.png", "1 of the 2 files"),
    (ALL[7], "scene0707_00/pose/585.txt", "1 of the 3 files"),
    (ALL[7], "scene0707_00/depth/585.png", "1 of the 3 files"),
    (ALL[7], "scene0707_00/intrinsic/intrinsic_color.txt", "no such file"),
]


@pytest.mark.parametrize(("sample", "name", "words"), MISSING, ids=lambda x: str(x)[:40])
def test_missing_files_are_counted_and_named(
    sample: Sample, name: str, words: str, sample_at: Any
) -> None:
    root = sample_at(sample)
    (path,) = root.rglob(name)
    path.unlink()
    with pytest.raises(InputError, match=words):
        read(sample, root)
