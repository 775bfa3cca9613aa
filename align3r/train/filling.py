"""Options with whatever suits the network wherever nothing was asked for. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from align3r.errors import UsageError
from align3r.train.data.shares import parse_held_out, parse_share, parse_strides
from align3r.train.options import (
    Align3rOptions,
    Fin3rOptions,
    StudentName,
    TrainedPriorName,
    TrainedPriorOptions,
    fill_data,
)

Options = Fin3rOptions | Align3rOptions
"""Of any training."""

PRIOR_OF: Mapping[StudentName, TrainedPriorName] = {
    "align3r-depthanything": "depthanything-large",
    "align3r-depthpro": "depthpro",
}
"""What the published Align3Rs look at."""


def filled(options: Options) -> Options:
    """The same options without gaps; they are looked at, and no file is.

    Raises:
        UsageError: There is nothing to train on, or options make no sense.
    """
    if not options.data.data:
        raise UsageError(
            "there is nothing to train on",
            hint="say what an epoch holds: --data.data 20000@sa1b=/data/sa1b 1000@hypersim=/data/h",
        )
    for text in options.data.data:
        parse_share(text)
    for text in options.data.validation:
        parse_held_out(text)
    parse_strides(options.data.strides)
    model, prior = model_of(options), options.prior
    if takes_point_maps(options):
        if prior.model == "auto":
            prior = replace(prior, model=PRIOR_OF[model])
    elif prior != TrainedPriorOptions():
        raise UsageError(
            f"{model} looks at images alone, not at monocular depth",
            hint="leave out all that begins with --prior",
        )
    return replace(options, data=fill_data(options.data, model), prior=prior)


def model_of(options: Options) -> StudentName:
    """The model, as commands call it, that will be run with the result."""
    if isinstance(options, Fin3rOptions):
        return options.student
    # Disparity and depth look so different to a network that it can learn but one of them.
    name = options.prior.model
    is_disparity = name == "auto" or name.startswith("depthanything")
    return "align3r-depthanything" if is_disparity else "align3r-depthpro"


def takes_point_maps(options: Options) -> bool:
    """Whether the network that is trained looks at monocular depth."""
    return model_of(options) in PRIOR_OF


def base_weights(options: Options) -> str:
    """What the training starts from: a name, a file or a folder."""
    base = options.student if isinstance(options, Fin3rOptions) else "dust3r"
    return options.weights or base
