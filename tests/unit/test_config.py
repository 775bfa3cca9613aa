"""Numbers that no run can make sense of are refused before it starts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from align3r.config import AlignOptions, MotionOptions, Options, OutputOptions, PairOptions
from align3r.errors import UsageError
from align3r.reconstruction import Reconstruction


def test_the_defaults_are_in_range() -> None:
    Options()


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"pairs": PairOptions(group=1)},
        {"motion": MotionOptions(threshold=float("nan"))},
        {"align": AlignOptions(learning_rate=float("nan"))},
        {"align": AlignOptions(steps=0)},
        {"align": AlignOptions(flow_weight=-1)},
        {"output": OutputOptions(max_points=0)},
    ],
)
def test_numbers_out_of_range_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"^--[a-z.-]+ is ") as caught:
        replace(Options(), **wrong)
    assert "at least" in caught.value.hint


def test_frames_are_numbered_as_everywhere_in_python() -> None:
    class Numbers:
        def depth(self, i: int) -> np.ndarray:
            return np.full((1, 1), i, np.float32)

        confidence = moving = image = depth

    poses = np.tile(np.eye(4), (3, 1, 1))
    scene = Reconstruction(
        poses, poses[:, :3, :3], np.arange(3.0), np.arange(3), (1, 1), maps=Numbers()
    )
    assert scene.depth(-1)[0, 0] == 2 and scene.moving(0)[0, 0] == 0
    for outside in (3, -4):
        with pytest.raises(IndexError, match=f"frame {outside} of 3: there are 0 to 2, and -3 to"):
            scene.depth(outside)
    assert scene.image(np.int32(1))[0, 0] == 1
    for look in (scene.depth, scene.confidence, scene.moving, scene.image):
        for odd in (1.0, 3.5, "1", None):
            with pytest.raises(TypeError, match=f"whole number, not {odd!r}"):
                look(odd)  # type: ignore[arg-type]
