"""What the readers of data sets share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from align3r.datasets import tum
from align3r.datasets.files import (
    check_choice,
    check_sequence,
    files,
    folders,
    image_size,
    inside,
    numbers,
    read_numbers,
    read_rows,
    read_uint16,
    reading,
    rigid,
    rigid_from_quaternions,
)
from align3r.datasets.frames import check_unbroken, frames_of, published_intrinsics, with_pose
from align3r.datasets.listed import listed
from align3r.errors import InputError, TooLargeError, UsageError
from align3r.io.png import write_depth_png, write_image


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_numbers_are_in_order_and_other_files_are_left_out(tmp_path: Path) -> None:
    names = ["f_10.png", "f_2.png", "f_0003.png", "f_a.png", "f_4.jpg", "xf_5.png", "f_6.png.part"]
    touch(*(tmp_path / "a" / name for name in names))
    assert numbers(tmp_path, "a/f_*.png") == ["2", "0003", "10"]
    assert numbers(tmp_path, "b/f_*.png") == []


def test_files_of_frames_in_the_order_of_the_frames(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "a" / "2.png")
    assert files(tmp_path, "a/*.png", ["2", "1"]) == (tmp_path / "a/2.png", tmp_path / "a/1.png")
    with pytest.raises(InputError, match=r"2 of the 3 files a/\*\.png .* the first is a/7\.png"):
        files(tmp_path, "a/*.png", ["1", "7", "8"])


def test_what_a_list_names_is_there(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "b" / "2.png")
    found = listed(tmp_path, ["b/2.png", "a//1.png", "a"], "images of a")
    assert found == (tmp_path / "b/2.png", tmp_path / "a/1.png", tmp_path / "a")
    with pytest.raises(InputError, match=r"2 of the 3 images of a .* the first is a/7\.png"):
        listed(tmp_path, ["a/1.png", "a/7.png", "c/1.png"], "images of a")
    with pytest.raises(InputError, match="outside"):
        listed(tmp_path, ["a/../../b"], "images of a")
    with pytest.raises(InputError):
        listed(tmp_path, ["a" * 5000], "images of a")


def test_folders_are_paths_from_the_root(tmp_path: Path) -> None:
    touch(tmp_path / "b" / "x" / "1", tmp_path / "a" / "x" / "1", tmp_path / "c" / "x")
    assert folders(tmp_path, "*/x") == ["a/x", "b/x"]
    assert folders(tmp_path / "none", "*/x") == []


@pytest.mark.parametrize("name", ["/a", "../a", "a/../../b", "..\\a", "c:\\a", "a\0b", "a" * 5000])
def test_what_leads_out_of_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        inside(tmp_path, name)


def test_what_stays_inside_is_fine_and_links_that_leave_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    touch(folder / "a" / "b.png", tmp_path / "out.png")
    assert inside(folder, "a/b.png") == folder / "a" / "b.png"
    (folder / "c.png").symlink_to(tmp_path / "out.png")
    with pytest.raises(InputError, match="leads out"):
        inside(folder, "c.png")


def test_rows_without_comments(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("head 1\n# no\n\n 1.5 a  b \n", encoding="utf-8")
    assert read_rows(path, skip=1) == [["1.5", "a", "b"]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no numbers"),
        ("# 1 2", "no numbers"),
        ("1 2\n3", "1 numbers in a line instead of 2"),
        ("1 x", "could not convert"),
        ("1 nan", "finite"),
        ("1 -inf", "finite"),
    ],
)
def test_texts_that_are_no_table_of_numbers(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as caught:
        read_numbers(path, 2)
    assert str(path) in str(caught.value)


def test_tables_of_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("1341846313.592514 -inf\n", encoding="utf-8")
    np.testing.assert_array_equal(
        read_numbers(path, 2, finite=False), [[1341846313.592514, -np.inf]]
    )
    path.write_text("# nothing\n", encoding="utf-8")
    assert read_numbers(path, 2, empty=True).shape == (0, 2)
    path.write_bytes(b"\xff\xfe1 2")
    with pytest.raises(InputError, match="cannot be read"):
        read_numbers(path, 2)


def poses(n: int) -> np.ndarray:
    out = np.tile(np.eye(4), (n, 1, 1))
    out[:, :3, :3] = Rotation.random(n, random_state=0).as_matrix()
    out[:, :3, 3] = np.arange(3 * n).reshape(n, 3)
    return out


def test_rigid_motions_pass_with_and_without_their_last_row() -> None:
    right = poses(5)
    np.testing.assert_array_equal(rigid(right, Path("p")), right)
    np.testing.assert_array_equal(rigid(right[:, :3], Path("p")), right)
    assert rigid(np.round(right, 4), Path("p")).shape == (5, 4, 4)


@pytest.mark.parametrize("wrong", ["mirror", "scale", "nan", "row", "zero", "infinite place"])
def test_what_is_no_rigid_motion_is_counted(wrong: str) -> None:
    some = poses(5)
    some[3] = {
        "mirror": np.diag([1.0, 1, -1, 1]),
        "scale": np.diag([1.01, 1.01, 1.01, 1]),
        "nan": np.full((4, 4), np.nan),
        "row": np.eye(4)[[0, 1, 2, 2]],
        "zero": np.diag([0.0, 0, 0, 1]),
        "infinite place": np.eye(4) + np.array([[0, 0, 0, np.inf]] + 3 * [[0, 0, 0, 0]]),
    }[wrong]
    with pytest.raises(InputError, match=r"1 of the 5 poses of p .* first is number 3"):
        rigid(some, Path("p"))


def test_quaternions_of_any_length_are_rotations() -> None:
    right = poses(4)
    quaternions = Rotation.from_matrix(right[:, :3, :3]).as_quat()
    rows = np.column_stack([right[:, :3, 3], quaternions * [[1.0], [0.999], [-3], [1e-3]]])
    np.testing.assert_allclose(rigid_from_quaternions(rows, Path("p")), right, atol=1e-12)
    assert rigid_from_quaternions(np.empty((0, 7)), Path("p")).shape == (0, 4, 4)
    for bad in (0.0, np.nan, 1e200):
        rows[2, 3:] = bad
        with pytest.raises(InputError, match="quaternion of p"):
            rigid_from_quaternions(rows, Path("p"))


def test_sizes_and_levels_of_images(tmp_path: Path) -> None:
    write_depth_png(np.array([[0.001, np.nan, 65.535]], np.float32), tmp_path / "d.png")
    assert image_size(tmp_path / "d.png") == (3, 1)
    assert read_uint16(tmp_path / "d.png", (3, 1)).tolist() == [[1, 0, 65535]]
    with pytest.raises(InputError, match="is 3x1 pixels, the images are 1x3"):
        read_uint16(tmp_path / "d.png", (1, 3))
    write_image(np.zeros((1, 3, 3), np.uint8), tmp_path / "rgb.png")
    with pytest.raises(InputError, match="not a 16-bit image"):
        read_uint16(tmp_path / "rgb.png", (3, 1))


def test_words_for_sequences_settings_and_parsers(tmp_path: Path) -> None:
    check_sequence("a", ["a"], tmp_path)
    with pytest.raises(InputError, match="no sequence 'x'") as caught:
        check_sequence("x", [str(i) for i in range(9)], tmp_path)
    assert caught.value.hint == "there are 9: 0, 1, 2, 3, 4, 5, ..."
    with pytest.raises(UsageError, match="rendering 'blue'"):
        check_choice("blue", ("clean", "final"), "rendering")
    with (
        pytest.raises(InputError, match=r"a\.json cannot be read: nothing"),
        reading(Path("a.json")),
    ):
        raise ValueError("nothing")
    with pytest.raises(TooLargeError), reading(Path("a.json")):
        raise TooLargeError("too large", hint="less")


def test_frames_are_those_that_any_folder_knows(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "a" / "3.png", tmp_path / "b" / "2.png")
    assert frames_of(tmp_path, "a/*.png", "b/*.png") == ["1", "2", "3"]
    check_unbroken(["1", "2", "3"], "a/*.png")
    with pytest.raises(InputError, match=r"no file c/\*\.png"):
        frames_of(tmp_path, "c/*.png")
    with pytest.raises(InputError, match=r"2 of the 5 files a/\*\.png .* first is a/0003\.png"):
        check_unbroken(["0001", "0002", "0005"], "a/*.png")


def test_frames_without_a_pose_are_counted() -> None:
    assert with_pose(["0", "1"], [0, 1], Path("p")) == (["0", "1"], ())
    kept, remarks = with_pose(["0", "1", "2"], [1.0, 5, 6, 7], Path("p"))
    assert kept == ["1"]
    assert remarks == (
        "2 of 3 frames have no pose: they are left out",
        "3 of 4 poses have no image",
    )
    with pytest.raises(InputError, match="no pose of any of the 1 frames"):
        with_pose(["0"], [1], Path("p"))


def test_published_intrinsics_hold_for_their_size_alone() -> None:
    known = {tum.SIZE: tum.CAMERAS["3"]}
    k = published_intrinsics(None, known, size=(640, 480))
    assert k.tolist() == [[535.4, 0, 320.1], [0, 539.2, 247.6], [0, 0, 1]]
    assert published_intrinsics((1, 2, 3, 4), known, size=(8, 8))[0, 2] == 3
    for given in (None, (1, 2, 3), (0, 1, 2, 3), (1, np.nan, 2, 3), "abcd"):
        with pytest.raises(UsageError):
            published_intrinsics(given, known, size=(320, 240))  # type: ignore[arg-type]
