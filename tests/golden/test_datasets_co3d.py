"""The readers of CO3Dv2 on its sample."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from data_set_samples import (
    SAMPLES,
    check_depth,
    check_image,
    copied,
    expected,
    found_again,
    rewrite,
    set_in,
)

from align3r.datasets import co3d, co3d_evaluation
from align3r.datasets.sequence import Sequence
from align3r.errors import InputError, TooLargeError, UsageError

APPLE, PORTRAIT = "apple/110_13051_23361", "apple/189_20393_38136"
ALL: Mapping[str, Any] = {"set_list": None, "quality": None}


def test_co3d_names_are_those_of_the_list_with_good_cameras() -> None:
    root = SAMPLES / "co3d"
    assert co3d.names(root) == [APPLE]
    assert co3d.names(root, split="train") == []  # its cameras are bad
    assert co3d.names(root, split="train", quality=None) == [PORTRAIT]
    assert co3d.names(root, set_list=None, quality=0.2) == [APPLE]  # above it, not at it
    assert co3d.names(root, set_list=None, quality=0.19) == [APPLE, PORTRAIT]


@pytest.mark.parametrize("name", [APPLE, PORTRAIT])
def test_co3d_is_that_of_the_upstream_readers(name: str) -> None:
    root = SAMPLES / "co3d"
    want = expected("co3d")["sequences"][name.split("/")[1]]["frames"]
    got = co3d.read(root, name, **ALL)
    assert got.frames == tuple(frame["id"] for frame in want) and len(got.truth) == 5
    assert not got.truth.metric and got.truth.depth is not None and got.remarks == ()
    np.testing.assert_allclose(got.truth.times, [0, 0.1, 0.2, 0.3, 0.4])
    for i, frame in enumerate(want):
        assert got.images[i] == root / frame["rgb"]
        assert got.truth.size == tuple(frame["size_wh"])
        np.testing.assert_allclose(got.truth.intrinsics[i], frame["K"], rtol=1e-6)
        np.testing.assert_allclose(got.truth.world_from_cam[i], frame["c2w"], atol=1e-6)
        check_image(got.image(i), frame)
        check_depth(got.truth.depth(i), frame)


@pytest.mark.parametrize("name", [APPLE, PORTRAIT])
def test_co3d_depth_is_found_again_in_the_next_frame(name: str) -> None:
    truth = co3d.read(SAMPLES / "co3d", name, **ALL).truth
    assert truth.depth is not None
    # Scales of the sample differ by frame; they are undone to compare.
    frames = expected("co3d")["sequences"][name.split("/")[1]]["frames"]
    a, b = (truth.depth(i) / frames[i]["scale_adjustment"] for i in (0, 1))
    b_from_a = np.linalg.inv(truth.world_from_cam[1]) @ truth.world_from_cam[0]
    assert found_again(a, b, truth.intrinsics[0], b_from_a) > 0.9
    assert found_again(a, b, truth.intrinsics[0], np.linalg.inv(b_from_a)) < 0.6


def test_co3d_takes_the_frames_of_the_list(tmp_path: Path) -> None:
    root = copied("co3d", tmp_path)

    def shorter(lists: Any) -> None:
        lists["test"] = [lists["test"][i] for i in (4, 0, 2)]

    rewrite(root / "apple/set_lists/set_lists_fewview_dev.json", shorter)
    got = co3d.read(root, APPLE)
    assert got.frames == ("frame000001", "frame000021", "frame000041")
    whole = co3d.read(root, APPLE, **ALL)
    np.testing.assert_array_equal(got.truth.world_from_cam, whole.truth.world_from_cam[[0, 2, 4]])
    assert len(whole) == 5


def test_co3d_leaves_out_frames_of_another_size(tmp_path: Path) -> None:
    root = copied("co3d", tmp_path)

    def smaller(rows: Any) -> None:
        rows[0]["image"]["size"] = [24, 32]

    rewrite(root / "apple/frame_annotations.jgz", smaller)
    got = co3d.read(root, APPLE)
    assert got.remarks == ("1 of 5 frames are of another size",)
    assert got.frames[0] == "frame000011" and len(got) == 4


def test_co3d_depth_outside_of_its_mask_is_not_known(tmp_path: Path) -> None:
    root = copied("co3d", tmp_path)
    mask = np.zeros((48, 64), np.uint8)
    mask[10, 20] = 255
    cv2.imwrite(str(root / APPLE / "depth_masks/frame000001.png"), mask)
    truth = co3d.read(root, APPLE).truth
    assert truth.depth is not None
    assert np.argwhere(np.isfinite(truth.depth(0))).tolist() == [[10, 20]]


def test_co3d_reads_annotations_anew_once_they_change(tmp_path: Path) -> None:
    root = copied("co3d", tmp_path)
    before = co3d.read(root, APPLE).truth.intrinsics[0, 0, 0]

    def longer(rows: Any) -> None:
        for row in rows:
            row["viewpoint"]["focal_length"] = [100.125, 100.125]

    rewrite(root / "apple/frame_annotations.jgz", longer)
    assert before == pytest.approx(58)
    assert co3d.read(root, APPLE).truth.intrinsics[0, 0, 0] == pytest.approx(24 * 100.125)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_in(0, "viewpoint", "R", to=np.ones((3, 3)).tolist()), "1 of the 5 poses"),
        (set_in(0, "viewpoint", "T", to=[0, float("nan"), 0]), "1 of the 5 poses"),
        (set_in(0, "viewpoint", "T", to=[0, 0]), "instead of"),
        (set_in(0, "viewpoint", "focal_length", to=[0, 1]), "1 of the 5 intrinsics"),
        (set_in(0, "viewpoint", "intrinsics_format", to="ndc_norm_image_bounds"), "ndc_norm"),
        (set_in(0, "image", "path", to="../../etc/passwd"), "outside"),
        (set_in(0, "image", "path", to="/etc/passwd"), "outside"),
        (set_in(0, "image", "path", to="apple/gone.jpg"), "1 of the 5 images of apple/110"),
        (set_in(0, "image", "path", to="a" * 5000), "cannot be read"),
        (set_in(0, "image", "path", to=7), "no text"),
        (set_in(0, "depth", to=None), "cannot be read"),
        (set_in(0, "depth", "scale_adjustment", to=-1), "a scale of"),
        (set_in(0, "frame_number", to=3), "lacks 1 of the 5 frames"),
        (set_in(0, to=[]), "no list of annotations"),
        (lambda rows: {"a": rows}, "no list of annotations"),
    ],
)
def test_co3d_refuses_annotations_without_sense(
    tmp_path: Path, change: Callable[[Any], Any], words: str
) -> None:
    root = copied("co3d", tmp_path)
    rewrite(root / "apple/frame_annotations.jgz", change)
    with pytest.raises(InputError, match=words):
        co3d.read(root, APPLE)


def test_co3d_says_what_is_not_there(tmp_path: Path) -> None:
    root = copied("co3d", tmp_path)
    with pytest.raises(InputError, match="no sequence 'pear/1'"):
        co3d.read(root, "pear/1")
    with pytest.raises(InputError, match="no sequence"):
        co3d.read(root, "../co3d/apple")
    with pytest.raises(InputError, match="no such file"):
        co3d.names(root, set_list="manyview_dev_0")
    with pytest.raises(InputError, match="other") as error:
        co3d.names(root, split="other")
    assert "train, val and test" in error.value.hint
    (root / APPLE / "depths/frame000011.jpg.geometric.png").unlink()
    with pytest.raises(InputError, match="1 of the 5 depth maps of apple/110"):
        co3d.read(root, APPLE)
    shutil.rmtree(root / APPLE)
    assert co3d.names(root) == []


def test_annotations_that_unpack_to_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copied("co3d", tmp_path)
    monkeypatch.setenv("ALIGN3R_MAX_ARRAY_GB", "0.001")
    (root / "apple/frame_annotations.jgz").write_bytes(gzip.compress(b" " * 2_000_000 + b"[]"))
    with pytest.raises(TooLargeError, match="unpacks"):
        co3d.read(root, APPLE)


def evaluation(name: str = APPLE, root: Path = SAMPLES, **settings: Any) -> Sequence:
    return co3d_evaluation.read(
        root / "co3d", name, annotations=root / "co3d_vggt_annotations", **settings
    )


@pytest.mark.parametrize("name", [APPLE, PORTRAIT])
def test_co3d_evaluation_has_the_cameras_of_the_annotations(name: str) -> None:
    got, want = evaluation(name), co3d.read(SAMPLES / "co3d", name, **ALL)
    assert got.frames == want.frames and got.images == want.images
    assert got.truth.size == want.truth.size and got.truth.depth is None
    np.testing.assert_allclose(got.truth.intrinsics, want.truth.intrinsics, rtol=1e-9)
    np.testing.assert_allclose(got.truth.world_from_cam, want.truth.world_from_cam, atol=1e-9)


def test_co3d_evaluation_leaves_out_absurd_and_short_sequences(tmp_path: Path) -> None:
    root = copied("co3d", tmp_path)
    notes = root / "apple_test.jgz"
    shutil.copy(SAMPLES / "co3d_vggt_annotations/apple_test.jgz", notes)
    assert co3d_evaluation.names(root) == [APPLE, PORTRAIT]
    assert co3d_evaluation.names(root, split="train") == []
    assert co3d_evaluation.names(root, least=5) == [APPLE, PORTRAIT]
    assert co3d_evaluation.names(root, least=6) == []
    rewrite(notes, set_in(APPLE.split("/")[1], 3, "T", to=[9e4, 2e4, 0]))
    assert co3d_evaluation.names(root) == [PORTRAIT]
    with pytest.raises(InputError, match="no sequence"):
        co3d_evaluation.read(root, APPLE)
    with pytest.raises(UsageError, match="split"):
        co3d_evaluation.names(root, split="val")
