"""What `auto` stands for, and which options a model refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from align3r.config import (
    AlignOptions,
    CameraOptions,
    ModelName,
    NetworkOptions,
    Options,
    PriorName,
    PriorOptions,
)
from align3r.errors import UsageError
from align3r.pairwise import choice
from align3r.pairwise.choice import choose_model, unread_options
from align3r.pairwise.needs import looks_at_depth, needed_weights, prior_in_metres


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """A machine with a GPU, on which all weights can be had but those in the set."""
    missing: set[str] = set()
    monkeypatch.setattr(choice, "resolve_device", lambda name: torch.device("cuda"))
    monkeypatch.setattr(choice, "is_available", lambda spec: spec not in missing)
    return missing


@pytest.mark.parametrize(
    ("prior", "model"),
    [
        ("auto", "align3r-depthanything"),
        ("depthanything-small", "align3r-depthanything"),
        ("depthpro", "align3r-depthpro"),
        ("none", "monst3r"),
    ],
)
def test_auto_on_a_gpu_goes_by_the_prior(gpu: set[str], prior: PriorName, model: str) -> None:
    assert choose_model(Options(prior=PriorOptions(model=prior))) == model


@pytest.mark.parametrize(
    ("prior", "metres"),
    [
        ("depthpro", True),
        ("moge2", True),
        ("depthanything-metric-indoor-small", True),
        ("moge", False),
        ("depthanything-small", False),
        ("auto", False),
    ],
)
def test_which_depth_networks_are_in_metres(prior: PriorName, metres: bool) -> None:
    on_prior = AlignOptions(geometry="scale-grid")
    options = Options(model="geometric", prior=PriorOptions(model=prior), align=on_prior)
    assert prior_in_metres(options) == metres


def test_auto_on_a_gpu_needs_all_weights(gpu: set[str]) -> None:
    gpu.add("depthanything-large")
    assert choose_model(Options()) == "geometric"
    assert choose_model(Options(prior=PriorOptions(dir="maps"))) == "align3r-depthanything"
    gpu.add("align3r-depthanything")
    assert choose_model(Options(prior=PriorOptions(dir="maps"))) == "geometric"


@pytest.mark.parametrize("model", ["geometric", "dust3r", "align3r-depthpro"])
def test_a_named_model_is_kept(gpu: set[str], model: ModelName) -> None:
    gpu |= {"dust3r", "align3r-depthpro", "depthpro"}
    assert choose_model(Options(model=model)) == model


def test_a_model_that_nobody_knows_is_refused() -> None:
    with pytest.raises(UsageError, match="no model 'foo'") as caught:
        choose_model(Options(model="foo"))  # type: ignore[arg-type]
    assert "geometric" in caught.value.hint


def test_options_that_nothing_reads_are_named() -> None:
    odd = NetworkOptions(precision="fp16", cache_gb=1.0)
    assert unread_options(Options(model="geometric", network=odd)) == [
        "--network.precision",
        "--network.cache-gb",
    ]
    assert unread_options(Options(model="dust3r", network=odd)) == []
    own = PriorOptions(dir="maps", kind="disparity")
    assert unread_options(Options(model="dust3r", prior=own)) == ["--prior.dir", "--prior.kind"]
    scale = AlignOptions(geometry="scale")
    assert unread_options(Options(model="dust3r", prior=own, align=scale)) == []
    near = AlignOptions(prior_weight=0.1)
    assert unread_options(Options(model="dust3r", prior=own, align=near)) == []
    twice = PriorOptions(dir="maps", weights="w")
    assert unread_options(Options(model="align3r-depthpro", prior=twice)) == ["--prior.weights"]
    kind = PriorOptions(kind="disparity")
    assert unread_options(Options(model="align3r-depthpro", prior=kind)) == ["--prior.kind"]
    metres = PriorOptions(metric=True)
    assert unread_options(Options(model="align3r-depthpro", prior=metres)) == ["--prior.metric"]
    metres = PriorOptions(dir="maps", metric=True)
    assert unread_options(Options(model="geometric", prior=metres)) == []
    posed = Options(model="geometric", prior=metres, camera=CameraOptions(poses="cameras.npz"))
    assert unread_options(posed) == ["--prior.dir", "--prior.metric"]
    assert not looks_at_depth(posed)
    posed = replace(posed, align=AlignOptions(geometry="scale"))
    assert unread_options(posed) == ["--prior.metric"]
    assert unread_options(Options(model="geometric")) == []


def test_numbers_of_another_solver_or_geometry_are_named() -> None:
    numbers = AlignOptions(steps=50, learning_rate=0.1, cells=5)
    assert unread_options(Options(model="geometric", align=numbers)) == [
        "--align.steps",
        "--align.learning-rate",
        "--align.cells",
    ]
    read = replace(numbers, solver="adam", geometry="scale-grid")
    assert unread_options(Options(model="geometric", align=read)) == []


def test_what_a_run_needs() -> None:
    assert needed_weights(Options(model="geometric")) == []
    assert needed_weights(Options(model="monst3r")) == ["monst3r"]
    both = needed_weights(Options(model="align3r-depthanything"))
    assert both == ["align3r-depthanything", "depthanything-large"]
    prior = PriorOptions(model="depthpro")
    assert needed_weights(Options(model="geometric", prior=prior)) == []
    scale = Options(model="geometric", prior=prior, align=AlignOptions(geometry="scale"))
    assert needed_weights(scale) == ["depthpro"]
