"""What the aligner tells of schedules that do not hold and of solves that fail."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from optim_problem import make_world

from align3r.config import AlignOptions
from align3r.errors import SolveError
from align3r.optim import align
from align3r.optim.aligner import _check_finite

OPTIONS = AlignOptions(pixels=300, schedule="keyframes")
SAYS = "from an earlier solution all pairs are solved at once"


def test_a_start_is_solved_at_once_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    world = make_world(6, noise=0.02)
    call: dict[str, Any] = {"n_frames": 6, "flows": world.flows, "keyframes": np.array([0, 3])}
    joint = replace(OPTIONS, schedule="joint")
    with caplog.at_level(logging.INFO, "align3r"):
        first = align(world.predictions, options=OPTIONS, **call)
        align(world.predictions, options=joint, start=first, **call)
        assert SAYS not in caplog.text
        align(world.predictions, options=OPTIONS, start=first, **call)
        assert SAYS in caplog.text


@pytest.mark.parametrize(
    ("solver", "hint"),
    [("adam", "an --align.learning-rate below 0.05"), ("gauss-newton", "--align.solver adam")],
)
def test_the_way_out_of_a_failed_solve_fits_the_solver(
    solver: Literal["gauss-newton", "adam"], hint: str
) -> None:
    world = make_world(3)
    found = align(world.predictions, n_frames=3, options=replace(OPTIONS, schedule="joint"))
    broken = replace(found, focal=np.full(3, np.nan))
    with pytest.raises(SolveError, match="3 of 3 focal lengths are not finite") as caught:
        _check_finite(broken, replace(OPTIONS, solver=solver))
    assert caught.value.hint.endswith(hint)
