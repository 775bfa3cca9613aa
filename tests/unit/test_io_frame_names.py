"""Names that other programs gave to frames."""

from __future__ import annotations

import pytest

from align3r.errors import InputError, UsageError
from align3r.io.frame_names import FrameId, FrameNames


def of_video(names: list[str], first: int | None = None) -> FrameNames:
    return FrameNames(names, origin="model", is_video=True, first_number=first)


def of_images(names: list[str]) -> FrameNames:
    return FrameNames(names, origin="model", is_video=False)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("/data/cam0/000.png", "cam0/000.png"),
        ("/data/cam1/000.png", "cam1/000.png"),
        ("/data/cam1/000.jpg", None),
        ("/data/000.png", None),
        ("C:\\data\\cam1\\7.png", "cam1/7.png"),
        ("/other/7.jpg", "cam1/7.png"),
        ("", None),
    ],
)
def test_images_are_found_by_the_end_of_their_path(name: str, found: str | None) -> None:
    names = of_images(["cam0/000.png", "cam1/000.png", "cam1/7.png"])
    assert names.find(FrameId(0, 0.0, name)) == found


@pytest.mark.parametrize(
    ("names", "first", "of_frame_2"),
    [
        (["f_000.png", "f_001.png", "f_002.png"], None, "f_002.png"),
        (["f_001.png", "f_002.png", "f_003.png"], None, "f_003.png"),
        (["f_001.png", "f_002.png", "f_003.png"], 0, "f_002.png"),
        (["2/f_5.png", "2/f_7.png"], 5, "2/f_7.png"),
        (["cam2_take3_0.png", "cam2_take3_2.png"], None, "cam2_take3_2.png"),
        (["0.png", "1.png"], None, None),
    ],
)
def test_numbers_count_the_frames_of_a_video(
    names: list[str], first: int | None, of_frame_2: str | None
) -> None:
    assert of_video(names, first).find(FrameId(2, 0.5)) == of_frame_2


def test_times_name_the_frames_of_a_video() -> None:
    names = of_video(["0.000000.png", "0.100000.png", "0.533333.png"])
    assert names.by == "time"
    assert names.find(FrameId(9, 0.53333333)) == "0.533333.png"
    assert names.find(FrameId(1, 0.2)) is None


def test_what_cannot_be_told() -> None:
    with pytest.raises(UsageError, match=r"numbered from 4.* from 0 or from 1"):
        of_video(["4.png", "5.png"])
    with pytest.raises(InputError, match=r"door\.png has no number"):
        of_video(["1.png", "door.png"])
    with pytest.raises(InputError, match=r"b/1\.png has the number of a/1\.png"):
        of_video(["a/1.png", "b/1.png"])
