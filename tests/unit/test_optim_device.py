"""The aligner on a device that is not the CPU: nothing is left behind, nothing else comes out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from make_believe import There, make_believe
from optim_problem import make_world

from align3r.config import AlignOptions
from align3r.optim import align
from align3r.types import KnownCameras, Solution

N = 3
WORLD = make_world(N, noise=0.02, step=0.3)
OPTIONS = AlignOptions(pixels=300, steps=10)


def same(one: Solution, other: Solution) -> None:
    for name in ("world_from_cam", "focal", "depth", "confidence", "world_from_pair"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.losses == other.losses


def on_both(options: AlignOptions, **given: Any) -> Solution:
    call = {"n_frames": N, "options": options, "prior": WORLD.depth, **given}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    here = align(WORLD.predictions, **call)
    torch.set_num_threads(threads)
    with make_believe() as device:
        there = align(WORLD.predictions, device=device, **call)
    same(here, there)
    return here


def test_the_device_is_not_the_cpu() -> None:
    with make_believe() as device:
        one = torch.ones(3, device=device)
        assert isinstance(one, There) and one.device == device and one.cpu().tolist() == [1, 1, 1]
        with pytest.raises(RuntimeError, match="meet some on lazy"):
            one + torch.ones(3)
        with pytest.raises((RuntimeError, TypeError)):
            one.numpy()
        with pytest.raises(RuntimeError, match="meet some on lazy"):
            torch.ones(3)[torch.zeros(2, dtype=torch.long, device=device)]


@pytest.mark.parametrize("solver", ["gauss-newton", "adam"])
@pytest.mark.parametrize("geometry", ["depth", "scale", "scale-grid"])
@pytest.mark.parametrize("flow", [True, False], ids=["flow", "no-flow"])
def test_solvers_and_geometries(solver: Any, geometry: Any, flow: bool) -> None:
    options = replace(OPTIONS, solver=solver, geometry=geometry, prior_weight=0.01 * flow)
    on_both(options, flows=WORLD.flows if flow else None)


@pytest.mark.parametrize("solver", ["gauss-newton", "adam"])
def test_what_is_known_and_an_earlier_solution(solver: Any) -> None:
    options = replace(OPTIONS, solver=solver, focal="per-frame")
    sigma = np.array([[np.nan, np.nan], [1.0, 0.1], [1.0, 0.1]])
    known = KnownCameras(world_from_cam=WORLD.world_from_cam, pose_sigma=sigma)
    on_both(options, flows=WORLD.flows, known=known)
    first = on_both(options, flows=WORLD.flows, metric=2 * WORLD.depth)
    on_both(options, flows=WORLD.flows, start=first, static=WORLD.depth > np.median(WORLD.depth))


def test_keyframes_first() -> None:
    on_both(replace(OPTIONS, schedule="keyframes", solver="adam"), keyframes=np.array([0, 2]))
