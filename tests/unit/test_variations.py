"""Which runs a comparison makes of what is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from align3r.config import AlignOptions, Options, PairOptions, PriorOptions
from align3r.errors import UsageError
from align3r.evaluate.variations import METHOD_PAIRS, Run, plan_runs, read_vary
from align3r.pairing import build_pairs
from align3r.pairwise.needs import looks_at_depth

PLAIN = Options(model="geometric")
NETWORK = Options(model="align3r-depthpro")


def never() -> int:
    raise AssertionError("the number of frames does not matter here")


def planned(*words: str, options: Options = PLAIN, n: int | None = None) -> list[Run]:
    return plan_runs(read_vary(words, options), options, never if n is None else lambda: n)


def test_one_thing_gives_the_base_run_its_name() -> None:
    runs = planned("flow")
    assert [(run.name, run.axis) for run in runs] == [("flow-on", ""), ("flow-off", "flow")]
    assert runs[0].options == PLAIN
    assert runs[1].options == replace(PLAIN, align=replace(PLAIN.align, flow_weight=0.0))


def test_a_base_without_flow_is_given_it() -> None:
    base = replace(PLAIN, align=AlignOptions(flow_weight=0.0))
    runs = planned("flow", options=base)
    assert [run.name for run in runs] == ["flow-off", "flow-on"]
    assert runs[1].options == PLAIN


def test_every_run_differs_from_the_base_in_one_thing() -> None:
    runs = planned("geometry=scale", "solver", "graph", n=30)
    base = runs[0].values()
    assert runs[0].name == "base"
    for run in runs[1:]:
        differs = [name for name, value in run.values().items() if value != base[name]]
        assert differs == [run.axis]
    assert [run.name for run in runs[3:]] == ["complete", "swinstride", "logwin"]


def test_a_complete_graph_of_many_frames_is_made_only_when_asked_for() -> None:
    assert "complete" in [run.name for run in planned("graph", n=40)]
    assert "complete" not in [run.name for run in planned("graph", n=41)]
    assert "complete" in [run.name for run in planned("graph=complete", n=41)]


def test_graphs_of_the_same_pairs_are_run_once() -> None:
    names = [run.name for run in planned("graph", n=8)]
    assert names == ["keyframes", "swinstride", "logwin"], "8 frames are one group: complete"
    chain = replace(PLAIN, pairs=PairOptions(graph="swin", window=1))
    assert [run.name for run in planned("graph", options=chain, n=8)] == ["swin", "keyframes"]


def test_what_is_asked_for_in_vain_is_said(caplog: pytest.LogCaptureFixture) -> None:
    names = [run.name for run in planned("graph=complete,logwin", n=8)]
    assert names == ["keyframes", "logwin"]
    assert "graph=complete is left out" in caplog.text


def test_a_grid_of_scales_needs_a_prior_that_knows_more_than_the_pairs() -> None:
    assert [run.name for run in planned("geometry")] == ["depth", "scale"]
    own = replace(PLAIN, prior=PriorOptions(dir="maps"))
    runs = planned("geometry", options=own)
    assert [run.name for run in runs] == ["depth", "scale", "scale-grid"]
    assert [looks_at_depth(run.options) for run in runs] == [False, True, True]
    assert [run.name for run in planned("geometry=scale-grid")] == ["depth", "scale-grid"]


def test_priors_of_a_model_that_can_do_without() -> None:
    scale = AlignOptions(geometry="scale")
    own = replace(PLAIN, align=scale, prior=PriorOptions(dir="maps"))
    assert [run.name for run in planned("prior", options=own)] == ["prior-own", "prior-none"]
    runs = planned("prior=depthpro,none", options=own)
    assert [run.options.prior for run in runs[1:]] == [
        PriorOptions(model="depthpro"),
        PriorOptions(model="none"),
    ]


def test_priors_of_a_model_that_was_trained_with_one() -> None:
    own = replace(NETWORK, prior=PriorOptions(dir="maps"))
    assert [run.name for run in planned("prior", options=own)] == ["prior-own", "prior-depthpro"]
    with pytest.raises(UsageError, match="changes nothing"):
        planned("prior", options=NETWORK)
    with pytest.raises(UsageError, match="needs monocular depth"):
        planned("prior=none", options=NETWORK)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (("solver=adma",), "did you mean adam"),
        (("flow=maybe",), "there are on, off"),
        (("",), "there are geometry, solver, flow, graph, method, prior"),
        (("solver=",), "there are gauss-newton, adam"),
        (("prior=auto",), "there are none, "),
        (("prior=own",), "there are none, "),
        (("solver", "solver"), "use solver=VALUE,VALUE"),
        ((), "vary one of geometry, solver"),
    ],
)
def test_names_that_do_not_exist(words: tuple[str, ...], hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        planned(*words)
    assert hint in raised.value.hint


def test_each_method_has_the_pairs_that_its_paper_counts() -> None:
    counts = {m: len(build_pairs(30, pairs)) for m, pairs in METHOD_PAIRS.items()}
    assert counts == {"dust3r": 600, "monst3r": 250, "align3r": 138}
    runs = planned("method", n=30)
    assert [run.name for run in runs] == ["pairs-align3r", "pairs-dust3r", "pairs-monst3r"]
    assert "method" not in runs[1].values()
