"""The readers of RealEstate10K and ScanNet-1500 on their samples."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_set_samples import (
    SAMPLES,
    copied,
    expected,
    found_again,
)

from align3r.datasets import re10k, scannet1500
from align3r.datasets.image_pair import ImagePair
from align3r.errors import InputError, UsageError
from align3r.io.png import read_depth_png

ROOM = "test/0000cc6d8b108390"


def test_re10k_is_that_of_the_upstream_readers() -> None:
    root, want = SAMPLES / "re10k", expected("re10k")["frames"]
    assert re10k.names(root) == [ROOM]
    got = re10k.read(root, ROOM)
    assert got.frames == tuple(frame["id"] for frame in want)
    assert got.truth.size == (64, 48) and got.truth.depth is None and not got.truth.metric
    assert got.remarks == ()
    for i, frame in enumerate(want):
        assert got.images[i] == root / frame["rgb"]
        assert got.truth.times[i] == pytest.approx(frame["timestamp_us"] / 1e6, rel=1e-12)
        np.testing.assert_allclose(got.truth.intrinsics[i], frame["K"], rtol=1e-6)
        np.testing.assert_allclose(got.truth.world_from_cam[i], frame["c2w"], atol=1e-6)
    assert got.image(3).shape == (48, 64, 3)


def test_re10k_says_which_frames_are_not_there(tmp_path: Path) -> None:
    root = copied("re10k", tmp_path)
    frames = sorted((root / "frames" / ROOM).iterdir())
    whole = re10k.read(root, ROOM)
    frames[0].unlink()
    frames[5].unlink()
    png = frames[6].with_suffix(".png")
    cv2.imwrite(str(png), cv2.imread(str(frames[6])))
    frames[6].unlink()
    got = re10k.read(root, ROOM)
    left = [1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert got.remarks == ("2 of 12 frames are not among the images",)
    assert got.frames == tuple(whole.frames[i] for i in left) and got.images[4] == png
    np.testing.assert_array_equal(got.truth.world_from_cam, whole.truth.world_from_cam[left])
    for path in (root / "frames" / ROOM).iterdir():
        path.unlink()
    with pytest.raises(InputError, match="none of the 12 frames"):
        re10k.read(root, ROOM)


def test_re10k_intrinsics_follow_the_size_of_the_frames(tmp_path: Path) -> None:
    root = copied("re10k", tmp_path)
    for path in (root / "frames" / ROOM).iterdir():
        cv2.imwrite(str(path), cv2.resize(cv2.imread(str(path)), (128, 72)))
    truth = re10k.read(root, ROOM).truth
    np.testing.assert_allclose(
        truth.intrinsics[0], [[0.9 * 128, 0, 64], [0, 1.2 * 72, 36], [0, 0, 1]]
    )
    cv2.imwrite(str(path), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(InputError, match="pixels, the first frame"):
        re10k.read(root, ROOM)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("52586366 ", "52586366.5 ", "whole number"),
        ("52586366 ", "-52586366 ", "whole number"),
        ("52586366 ", "", "18 numbers"),
        ("0.999800007", "0.9", "1 of the 12 poses"),
        ("0.900000000", "-0.9", "intrinsics"),
        ("0.900000000", "nan", "finite"),
    ],
)
def test_re10k_refuses_a_text_without_sense(tmp_path: Path, old: str, new: str, words: str) -> None:
    root = copied("re10k", tmp_path)
    path = root / f"{ROOM}.txt"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=words):
        re10k.read(root, ROOM)


def test_scannet_pairs_are_those_of_the_list() -> None:
    root, want = SAMPLES / "scannet1500", expected("scannet1500")["pairs"]
    got = scannet1500.read_pairs(root)
    assert len(got) == len(want) == 4
    for pair, row in zip(got, want, strict=True):
        assert (pair.scene, *pair.ids) == (row["scene"], str(row["i"]), str(row["j"]))
        assert pair.images == (root / row["img0"], root / row["img1"])
        assert pair.size == (64, 48)
        np.testing.assert_allclose(pair.intrinsics, [row["K0"], row["K1"]], rtol=1e-6)
        np.testing.assert_allclose(pair.b_from_a, row["rel_pose_0to1"], atol=1e-6)
        motion = np.linalg.inv(row["c2w1"]) @ np.array(row["c2w0"])
        np.testing.assert_allclose(pair.b_from_a, motion, atol=1e-5)
    assert scannet1500.names(root) == ["scene0707_00", "scene0708_00"]
    assert same(scannet1500.read(root, "scene0708_00"), got[2:])


def same(a: list[ImagePair], b: list[ImagePair]) -> bool:
    return [pair.images for pair in a] == [pair.images for pair in b] and len(a) == len(b)


def test_scannet_depth_is_found_again_in_the_other_image() -> None:
    pair = scannet1500.read_pairs(SAMPLES / "scannet1500")[0]
    a, b = (read_depth_png(p.parents[1] / "depth" / f"{p.stem}.png") for p in pair.images)
    assert found_again(a, b, pair.intrinsics[0], pair.b_from_a) > 0.8
    assert found_again(a, b, pair.intrinsics[0], np.linalg.inv(pair.b_from_a)) < 0.6


def test_scannet_colour_intrinsics_are_for_a_short_side_of_480() -> None:
    pair = scannet1500.read_pairs(SAMPLES / "scannet1500", intrinsics="colour")[0]
    assert pair.size == (640, 480)  # images of 64x48, ten times as large
    want = [[580, 0, (31.9 + 0.5) * 10 - 0.5], [0, 582, (24.2 + 0.5) * 10 - 0.5], [0, 0, 1]]
    np.testing.assert_allclose(pair.intrinsics, [want, want], rtol=1e-6)


def test_scannet_without_depth_takes_its_true_size(tmp_path: Path) -> None:
    root = copied("scannet1500", tmp_path)
    for folder in root.rglob("depth"):
        shutil.rmtree(folder)
    pairs = scannet1500.read_pairs(root)
    assert {pair.size for pair in pairs} == {(640, 480)}


def test_scannet_says_what_is_missing(tmp_path: Path) -> None:
    root = copied("scannet1500", tmp_path)
    with pytest.raises(UsageError, match="intrinsics 'color'"):
        scannet1500.read_pairs(root, intrinsics="color")
    with pytest.raises(InputError, match="no sequence"):
        scannet1500.read(root, "scene0001_00")
    (root / "scannet_test_1500/scene0707_00/color/585.jpg").unlink()
    with pytest.raises(InputError, match=r"1 of the 3 files .*585\.jpg"):
        scannet1500.read_pairs(root)
    assert len(scannet1500.read(root, "scene0708_00")) == 2
    shutil.rmtree(root / "scannet_test_1500/scene0708_00")
    with pytest.raises(InputError, match="1 of the 2 scenes"):
        scannet1500.read_pairs(root)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"name": np.zeros((1, 3), np.uint16)}, "four whole numbers"),
        ({"name": np.zeros((0, 4), np.uint16)}, "four whole numbers"),
        ({"name": np.zeros((1, 4), np.float32)}, "four whole numbers"),
        ({"rel_pose": np.zeros((2, 12), np.float32)}, "1 names"),
        ({"rel_pose": np.zeros((1, 12), np.float32)}, "1 of the 1 poses"),
        ({"rel_pose": np.full((1, 12), np.nan, np.float32)}, "1 of the 1 poses"),
        ({"rel_pose": np.array([[object()] * 12])}, "numbers"),
    ],
)
def test_scannet_refuses_a_list_without_sense(
    tmp_path: Path, arrays: dict[str, np.ndarray], words: str
) -> None:
    good = {"name": np.ones((1, 4), np.uint16), "rel_pose": np.eye(4)[:3].reshape(1, 12)}
    np.savez(tmp_path / "test.npz", **(good | arrays))  # type: ignore[arg-type]
    with pytest.raises(InputError, match=words):
        scannet1500.names(tmp_path)
