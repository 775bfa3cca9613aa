"""The user's masks: matched by number, else by order, else refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from align3r.errors import InputError
from align3r.io.masks import read_masks
from align3r.types import Frames


def frames_at(index: list[int], *, source: tuple[int, int] = (128, 96)) -> Frames:
    images = np.zeros((len(index), 48, 64, 3), np.uint8)
    return Frames(images, np.array(index) / 30, np.array(index, np.int64), source, "clip.mp4")


def write_masks(folder: Path, names: list[str], *, shape: tuple[int, int] = (96, 128)) -> Path:
    """Mask k is white in its first k + 1 columns of eight pixels."""
    folder.mkdir()
    for k, name in enumerate(names):
        mask = np.zeros(shape, np.uint8)
        mask[:, : 8 * (k + 1)] = 255
        assert cv2.imwrite(str(folder / name), mask)
    return folder


def widths(masks: np.ndarray) -> list[int]:
    assert (masks == masks[:, :1]).all(), "columns are alike"
    return [int(mask[0].sum()) // 4 - 1 for mask in masks]


def test_numbers_match_the_frames_of_the_source(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "m", [f"{i:05d}.png" for i in range(8)])
    masks = read_masks(folder, frames_at([1, 4, 6]))
    assert (masks.dtype, masks.shape) == (bool, (3, 48, 64))
    assert widths(masks) == [1, 4, 6]
    assert masks[0, 0, 0], "white is moving"
    assert not masks[0, 0, -1]


def test_numbers_from_one_match_by_order(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "m", ["1.png", "2.png", "10.png"])
    assert widths(read_masks(folder, frames_at([0, 1, 2]))) == [0, 1, 2]


def test_names_match_by_natural_order(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "m", ["f2.png", "f10.png", "f11.png"])
    assert widths(read_masks(folder, frames_at([5, 6, 7]))) == [0, 1, 2]


def test_masks_at_the_working_size_and_in_colour(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[:20] = 255
    cv2.imwrite(str(tmp_path / "m" / "0.png"), mask)
    np.testing.assert_array_equal(read_masks(tmp_path / "m", frames_at([0]))[0], mask[..., 0] > 0)


def test_counts_that_do_not_match(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "m", ["a.png", "b.png"])
    with pytest.raises(InputError, match="holds 2 masks for 3 frames") as caught:
        read_masks(folder, frames_at([0, 1, 2]))
    assert caught.value.exit_code == 3


def test_masks_of_another_shape(tmp_path: Path) -> None:
    folder = write_masks(tmp_path / "m", ["0.png"], shape=(96, 96))
    with pytest.raises(InputError, match=r"0\.png is 96x96 .* 128x96"):
        read_masks(folder, frames_at([0]))


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        read_masks(tmp_path / "m", frames_at([0]))
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="no folder of masks"):
        read_masks(tmp_path / "file", frames_at([0]))
