"""Validation: what the metrics of evaluation say when they are called by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tiny_students import SIZES, make
from torch import nn

from align3r.errors import InputError, UsageError
from align3r.evaluate.metrics import boundary_f1, moge_errors
from align3r.evaluate.metrics.moge import MogePrediction, MogeTruth
from align3r.io.fitting import FITS
from align3r.models.pair_network import PairNetwork
from align3r.train import validation
from align3r.train.data.values import SourceView
from align3r.train.options import DataOptions
from align3r.train.students import fit_of
from align3r.train.validation import errors_of, held_out_frames, longest_side, own_depth, validate

SILENT: Callable[..., None] = lambda *_: None  # noqa: E731


def frame(seed: int = 0, *, size: tuple[int, int] = (60, 90), prior: bool = False) -> SourceView:
    rng = np.random.default_rng(seed)
    depth = (2 + rng.random(size) + np.linspace(0, 3, size[1])).astype(np.float32)
    depth[:5] = np.nan
    return SourceView(
        name=f"some/{seed}",
        image=rng.integers(0, 256, (*size, 3), dtype=np.uint8),
        depth=depth,
        intrinsics=None,
        world_from_cam=None,
        prior=1 / np.nan_to_num(depth, nan=9.0) if prior else None,
    )


@pytest.mark.parametrize("name", SIZES)
def test_errors_are_those_of_evaluation(name: str) -> None:
    network, view = make(name), frame(prior=name == "align3r")
    assert view.depth is not None
    found = errors_of(network, view, 64)
    small = own_depth(network, view, 64)
    fit = FITS[fit_of(network)]((90, 60), 64)
    assert small.shape == fit.size[::-1]
    depth = cv2.resize(small, (90, 60), interpolation=cv2.INTER_LINEAR)
    mask = np.isfinite(view.depth)
    wanted = moge_errors(
        MogeTruth(depth=view.depth, mask=mask, sharp=True), MogePrediction(depth=depth)
    )
    assert found == {
        "abs_rel": wanted["depth_scale_invariant_rel"],
        "delta1": wanted["depth_scale_invariant_delta1"],
        "boundary_f1": pytest.approx(wanted["boundary_f1_radius1"]),
    }


@torch.no_grad()
def test_the_image_is_its_own_partner() -> None:
    network, view = make("dust3r"), frame()
    assert isinstance(network, PairNetwork)
    fit = FITS["network"]((90, 60), 48)
    image = torch.tensor(fit.apply(view.image)).permute(2, 0, 1)[None].float() / 255 * 2 - 1
    wanted = network((image, image)).points[0][0, ..., 2]
    np.testing.assert_allclose(own_depth(network, view, 48), wanted, rtol=1e-4, atol=1e-5)


class Knowing(nn.Module):
    """Says of an image the depth that it was made of."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))


def test_who_knows_the_truth_has_no_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    view = frame()
    assert view.depth is not None
    truth = np.nan_to_num(view.depth, nan=1.0)
    monkeypatch.setattr(validation, "own_depth", lambda *_: 3 * truth)
    found = errors_of(Knowing(), view, 48)
    assert found["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert found["delta1"] == 1
    assert found["boundary_f1"] == pytest.approx(
        boundary_f1(truth, truth, mask=np.isfinite(view.depth)), abs=1e-3
    )


def test_means_of_each_data_set() -> None:
    network = make("dust3r").train()
    told: list[tuple[Any, ...]] = []
    views = [frame(k) for k in range(3)]
    unknown = replace(frame(9), depth=None)
    held_out = {"a": lambda: [views[0], unknown, views[1]], "b": lambda: iter(views[2:])}
    for _ in range(2):
        found = validate(network, held_out, lambda *done: told.append(done), long_side=48)
        rows = [errors_of(network, view, 48) for view in views]
        wanted = {f"a/{m}": (rows[0][m] + rows[1][m]) / 2 for m in rows[0]}
        wanted |= {f"b/{m}": rows[2][m] for m in rows[2]}
        assert found == pytest.approx(wanted)
    assert network.training
    assert told[:3] == [("validation", k, 2) for k in (0, 1, 2)]


def test_data_without_depth_measures_nothing() -> None:
    nothing = np.full((60, 90), np.nan, np.float32)
    for unknown in (replace(frame(), depth=None), replace(frame(), depth=nothing)):
        held_out = {"re10k": lambda view=unknown: [view, view]}
        with pytest.raises(UsageError, match="none of the 2 frames of re10k has a true depth"):
            validate(make("dust3r"), held_out, SILENT, long_side=48)  # type: ignore[arg-type]


def test_a_frame_too_small_is_said_in_options_of_a_training() -> None:
    with pytest.raises(InputError, match="some/0 is held out and too small") as refused:
        own_depth(make("dust3r"), frame(size=(20, 30)), 48)
    assert "--data.sizes" in refused.value.hint


def test_frames_are_labelled_for_networks_that_look_at_depth() -> None:
    network, view = make("align3r"), frame()

    def labelled(plain: SourceView) -> SourceView:
        return replace(frame(prior=True), name=plain.name)

    with pytest.raises(ValueError, match="point map"):
        validate(network, {"a": lambda: [view]}, SILENT, long_side=48)
    found = validate(network, {"a": lambda: [view]}, SILENT, long_side=48, labelled=labelled)
    wanted = errors_of(network, frame(prior=True), 48)
    assert found == pytest.approx({f"a/{name}": value for name, value in wanted.items()})


def test_held_out_frames_of_options(tmp_path: Path) -> None:
    (tmp_path / "sa1b" / "sa_000000").mkdir(parents=True)
    for k in range(4):
        image = np.full((40, 50, 3), 50 * k, np.uint8)
        cv2.imwrite(str(tmp_path / "sa1b" / "sa_000000" / f"sa_{k}.jpg"), image)
    place = f"sa1b={tmp_path / 'sa1b'}"
    found = held_out_frames(DataOptions(validation=(place, place), validation_samples=2))
    assert list(found) == ["sa1b", "sa1b-2"]
    for frames in found.values():
        for _ in range(2):
            names = [view.name for view in frames()]
            assert len(names) == len(set(names)) == 2


def test_what_cannot_be_held_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no data set"):
        held_out_frames(DataOptions(validation=("hypersim",)))
    with pytest.raises(InputError, match="no folder"):
        held_out_frames(DataOptions(validation=(f"hypersim={tmp_path / 'none'}",)))


def test_the_long_side_is_that_of_training() -> None:
    assert longest_side(DataOptions(sizes=("128x96", "96x160"))) == 160
