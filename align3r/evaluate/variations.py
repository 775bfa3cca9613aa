"""What a comparison varies: one change at a time against the base run, not the product."""

from __future__ import annotations

import difflib
import logging
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from align3r.config import (
    AlignOptions,
    GraphName,
    Options,
    PairOptions,
    PriorName,
    PriorOptions,
)
from align3r.errors import UsageError
from align3r.pairing import build_pairs
from align3r.pairwise.choice import check_options
from align3r.pairwise.needs import looks_at_depth, prior_of
from align3r.pairwise.registry import MODELS

log = logging.getLogger(__name__)

BASE = "base"
"""Name of the base run where more than one thing is varied."""
MOST_FRAMES_COMPLETE = 40
"""A complete graph of more frames is not taken by itself: its pairs grow with their square."""
_USUAL_GRAPHS = ("keyframes", "complete", "swinstride", "logwin")
METHOD_PAIRS: Mapping[str, PairOptions] = {
    "dust3r": PairOptions(graph="swin", window=10, cyclic=True, symmetric=True, loops=False),
    "monst3r": PairOptions(graph="swinstride", window=5, symmetric=True, loops=False),
    "align3r": PairOptions(loops=False),
}
"""Pairs of the methods that the paper compares: 600, 250 and 138 of 30 frames (Table 4). That the
600 are a closed window of ten in both directions is our reading."""
_SOME_PRIOR: PriorName = "depthpro"

Count = Callable[[], int]
"""Tells the number of frames; asked only where it matters, because it may have to read them."""


@dataclass(frozen=True)
class Run:
    """One run of a comparison."""

    name: str
    """Of its row, its folder and its entry in compare.json."""
    axis: str
    """What it changes; empty for the base run."""
    options: Options

    def values(self) -> dict[str, str]:
        """What the run says about everything that can be varied."""
        return {name: axis.value(self.options) for name, axis in AXES.items() if axis.tells}


@dataclass(frozen=True)
class Axis:
    """One thing that can be varied."""

    value: Callable[[Options], str]
    """What the options say about it."""
    put: Callable[[Options, str], Options]
    """The options with another value of it."""
    known: Callable[[Options], Sequence[str]]
    """Every value that can be asked for."""
    usual: Callable[[Options, Count], Sequence[str]]
    """The values that make sense for these options and this number of frames."""
    tells: bool = True
    """Whether a run is described by it; not where another axis says the same."""
    prefix: str = ""
    """Makes a name of a value that says little by itself."""


def _choices(kind: object) -> tuple[str, ...]:
    return typing.get_args(kind)


def _align_choices(field: str) -> tuple[str, ...]:
    return _choices(typing.get_type_hints(AlignOptions)[field])


def _align_axis(field: str, usual: Callable[[Options, Count], Sequence[str]]) -> Axis:
    """An axis that is a field of the align options."""

    def put(options: Options, value: str) -> Options:
        changed: dict[str, typing.Any] = {field: value}
        return replace(options, align=replace(options.align, **changed))

    return Axis(
        value=lambda options: str(getattr(options.align, field)),
        put=put,
        known=lambda _options: _align_choices(field),
        usual=usual,
    )


def _geometries(options: Options, _count: Count) -> list[str]:
    """A smooth field of scales says something only on a prior that knows more than the pairs."""
    has_prior = options.prior.dir is not None or prior_of(options) is not None
    return [g for g in _align_choices("geometry") if g != "scale-grid" or has_prior]


def _solvers(_options: Options, _count: Count) -> list[str]:
    """Those that minimise the objective."""
    return [solver for solver in _align_choices("solver") if solver != "none"]


def _with_flow(options: Options, value: str) -> Options:
    weight = 0.0 if value == "off" else options.align.flow_weight or AlignOptions().flow_weight
    return replace(options, align=replace(options.align, flow_weight=weight))


def _graphs(_options: Options, count: Count) -> list[str]:
    return [g for g in _USUAL_GRAPHS if g != "complete" or count() <= MOST_FRAMES_COMPLETE]


def _method(options: Options) -> str:
    """Whose pairs they are; the name of the graph where they are nobody's."""
    pairs = replace(options.pairs, loops=False)
    return next((m for m, of in METHOD_PAIRS.items() if of == pairs), pairs.graph)


def _prior_name(options: Options) -> str:
    return "own" if options.prior.dir is not None else prior_of(options) or "none"


def _with_prior(options: Options, value: str) -> Options:
    return replace(options, prior=PriorOptions(model=typing.cast(PriorName, value)))


def _known_priors(options: Options) -> list[str]:
    own = ["own"] if options.prior.dir is not None else []
    return [*own, *(name for name in _choices(PriorName) if name != "auto")]


def _priors(options: Options, _count: Count) -> list[str]:
    """The one in use, the one that the model was trained with, and none where it can do without."""
    trained = MODELS[options.model].prior
    return [_prior_name(options), trained or "none"]


AXES: Mapping[str, Axis] = {
    "geometry": _align_axis("geometry", _geometries),
    "solver": _align_axis("solver", _solvers),
    "flow": Axis(
        value=lambda options: "on" if options.align.flow_weight > 0 else "off",
        put=_with_flow,
        known=lambda _options: ("on", "off"),
        usual=lambda _options, _count: ("on", "off"),
        prefix="flow-",
    ),
    "graph": Axis(
        value=lambda options: options.pairs.graph,
        put=lambda options, value: replace(
            options, pairs=replace(options.pairs, graph=typing.cast(GraphName, value))
        ),
        known=lambda _options: _choices(GraphName),
        usual=_graphs,
    ),
    "method": Axis(
        value=_method,
        put=lambda options, value: replace(options, pairs=METHOD_PAIRS[value]),
        known=lambda _options: tuple(METHOD_PAIRS),
        usual=lambda _options, _count: tuple(METHOD_PAIRS),
        tells=False,
        prefix="pairs-",
    ),
    "prior": Axis(_prior_name, _with_prior, _known_priors, _priors, prefix="prior-"),
}
"""By the names of `--vary`."""


def read_vary(words: Sequence[str], options: Options) -> dict[str, list[str]]:
    """What is asked for: the values by axis; none where all that make sense are meant.

    Args:
        words: `graph`, or `graph=complete,logwin`.
        options: Of the base run, with the model chosen.

    Raises:
        UsageError: A name that does not exist or comes twice, or nothing to vary.
    """
    found: dict[str, list[str]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        _known(name, AXES, what="to vary")
        if name in found:
            raise UsageError(f"{name} is to be varied twice", hint=f"use {name}=VALUE,VALUE")
        found[name] = values.split(",") if equals else []
        for value in found[name]:
            _known(value, AXES[name].known(options), what=f"for {name}")
    if not found:
        raise UsageError("nothing is to be varied", hint=f"vary one of {', '.join(AXES)}")
    return found


def _known(name: str, names: Sequence[str] | Mapping[str, Axis], *, what: str) -> None:
    if name in names:
        return
    close = difflib.get_close_matches(name, names, n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    raise UsageError(f"there is no {name!r} {what}", hint=f"{meant}there are {', '.join(names)}")


def plan_runs(vary: Mapping[str, list[str]], options: Options, count: Count) -> list[Run]:
    """The base run and, for every value of every axis, the run that differs in it alone.

    Args:
        vary: As `read_vary` gives it.
        options: Of the base run, with the model chosen.
        count: Tells the frames of the source.

    Raises:
        UsageError: A variation changes nothing, or the model cannot obey it.
    """
    _check_prior_is_read(vary, options)
    name = BASE
    if len(vary) == 1:
        (alone,) = vary
        name = AXES[alone].prefix + AXES[alone].value(options)
    runs = [Run(name, "", options)]
    for axis_name, asked in vary.items():
        changed = _changes(axis_name, asked, options, count)
        if not changed:
            raise _changes_nothing(axis_name, asked, options, count)
        runs += changed
    for run in runs:
        check_options(run.options)
    return runs


def _changes(axis_name: str, asked: Sequence[str], options: Options, count: Count) -> list[Run]:
    """The runs of one axis; values that come to the same thing are run once."""
    axis = AXES[axis_name]
    runs: list[Run] = []
    for value in asked or axis.usual(options, count):
        changed = options if value == axis.value(options) else axis.put(options, value)
        others = [options, *(run.options for run in runs)]
        if not any(_same(changed, other, count) for other in others):
            runs.append(Run(axis.prefix + value, axis_name, changed))
        elif asked and value != axis.value(options):
            log.warning("%s=%s is left out: it is the same as another run", axis_name, value)
    return runs


def _same(one: Options, two: Options, count: Count) -> bool:
    """Whether two runs would do the same; graphs are what their pairs are."""
    if replace(one, pairs=two.pairs) != two:
        return False
    if one.pairs == two.pairs:
        return True
    edges = [build_pairs(count(), options.pairs) for options in (one, two)]
    return np.array_equal(edges[0], edges[1])


def _check_prior_is_read(vary: Mapping[str, list[str]], options: Options) -> None:
    with_some = replace(options, prior=PriorOptions(model=_SOME_PRIOR))
    if "prior" in vary and not (looks_at_depth(options) or looks_at_depth(with_some)):
        raise UsageError(
            f"to vary the prior changes nothing: a run of {options.model} with "
            f"--align.geometry {options.align.geometry} does not look at it",
            hint="add --align.geometry scale",
        )


def _changes_nothing(
    axis_name: str, asked: Sequence[str], options: Options, count: Count
) -> UsageError:
    axis = AXES[axis_name]
    now = axis.value(options)
    if axis_name == "prior":
        hint = "give depth maps with --prior-dir, or name networks: prior=depthpro"
    else:
        others = [value for value in axis.known(options) if value != now and value not in asked]
        hint = f"name another value: {axis_name}={others[0]}" if others else "vary something else"
    of_frames = f" of {count()} frames" if axis_name == "graph" else ""
    return UsageError(
        f"to vary the {axis_name}{of_frames} changes nothing: {', '.join(asked) or 'all'} "
        f"is as {now}",
        hint=hint,
    )
