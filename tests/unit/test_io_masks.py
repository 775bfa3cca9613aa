"""The user's masks: matched by number, else by order, else refused."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

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


def textured(shape: tuple[int, ...]) -> np.ndarray:
    """A smooth picture of all levels."""
    noise = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    return cv2.normalize(
        cv2.GaussianBlur(noise, (0, 0), 2), np.zeros(shape, np.float32), 0, 255, cv2.NORM_MINMAX
    ).astype(np.uint8)


@pytest.mark.parametrize(
    ("name", "picture", "told"),
    [
        ("0.png", textured((96, 128, 3)), "different colours"),
        ("0.jpg", textured((96, 128, 3)), "different colours"),
        ("0.png", textured((96, 128)), "% of its pixels are neither black nor white"),
        ("0.jpg", np.repeat(textured((96, 128))[..., None], 3, 2), "neither black nor white"),
        ("0.png", textured((96, 128)).astype(np.uint16) * 257, "neither black nor white"),
    ],
)
def test_pictures_are_no_masks(tmp_path: Path, name: str, picture: np.ndarray, told: str) -> None:
    assert cv2.imwrite(str(tmp_path / name), picture)
    with pytest.raises(InputError, match=f"is no mask but a picture: .*{told}") as caught:
        read_masks(tmp_path, frames_at([0]))
    assert "white = moving" in caught.value.hint


def disc(*, blur: float = 0.0) -> np.ndarray:
    mask = cv2.circle(np.zeros((96, 128), np.uint8), (60, 50), 30, 255, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(mask, (0, 0), blur) if blur else mask


@pytest.mark.parametrize(
    ("name", "mask"),
    [
        ("0.png", disc()),
        ("0.png", disc(blur=3)),
        ("0.jpg", disc()),
        ("0.jpg", np.repeat(disc()[..., None], 3, 2)),
        ("0.png", disc().astype(np.uint16) * 257),
        ("0.png", np.where(disc() > 127, 200, 0).astype(np.uint8)),
        ("0.png", np.where(disc() > 127, 255, 64).astype(np.uint8)),
        ("0.png", np.dstack([disc(), disc(), disc(), np.full((96, 128), 255, np.uint8)])),
    ],
)
def test_masks_with_soft_edges_noise_or_two_levels_are_masks(
    tmp_path: Path, name: str, mask: np.ndarray
) -> None:
    assert cv2.imwrite(str(tmp_path / name), mask)
    (found,) = read_masks(tmp_path, frames_at([0]))
    wanted = cv2.resize(disc(), (64, 48), interpolation=cv2.INTER_AREA) > 127
    assert np.mean(found != wanted) < 0.01


def test_labels_with_a_palette_move_whatever_their_colour(tmp_path: Path) -> None:
    labels = np.zeros((96, 128), np.uint8)
    labels[:40, :50], labels[60:, 70:] = 1, 2
    image = Image.fromarray(labels, "P")
    # Those of DAVIS; the first is darker than half of white.
    image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    image.save(tmp_path / "00000.png")
    (found,) = read_masks(tmp_path, frames_at([0]))
    np.testing.assert_array_equal(found, labels[::2, ::2] > 0)


def test_masks_of_zeros_and_ones_are_refused(tmp_path: Path) -> None:
    for k, most in enumerate((0, 1)):
        mask = np.zeros((96, 128), np.uint8)
        mask[:40] = most
        cv2.imwrite(str(tmp_path / f"{k}.png"), mask)
    with pytest.raises(InputError, match="has white: the brightest level is 1 of 255") as caught:
        read_masks(tmp_path, frames_at([0, 1]))
    assert "multiplied by 255" in caught.value.hint
    cv2.imwrite(str(tmp_path / "1.png"), np.zeros((96, 128), np.uint8))
    assert not read_masks(tmp_path, frames_at([0, 1])).any(), "nothing moves"
