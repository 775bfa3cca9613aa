"""The choice of a model, and whether it can obey the other options."""

from __future__ import annotations

import logging
from dataclasses import fields, replace

from align3r.config import AlignOptions, ModelName, NetworkOptions, Options, PriorName, PriorOptions
from align3r.device import resolve_device
from align3r.errors import UsageError
from align3r.models.weights import is_available
from align3r.pairwise.needs import looks_at_depth, needed_weights, prior_of
from align3r.pairwise.registry import MODELS

log = logging.getLogger(__name__)

_BEST: dict[PriorName, ModelName] = {
    "auto": "align3r-depthanything",
    "depthpro": "align3r-depthpro",
    "none": "monst3r",
}
"""What `auto` takes on a GPU, by the prior asked for; any other prior goes with the first."""


def choose_model(options: Options) -> ModelName:
    """The model asked for; `auto` says which it took and why.

    Raises:
        UsageError: There is no such model, or weights are given, but not for which model.
    """
    if options.model not in ("auto", *MODELS):
        raise UsageError(
            f"there is no model {options.model!r}", hint=f"use auto or one of {', '.join(MODELS)}"
        )
    if options.model != "auto":
        if options.model == "geometric" and options.network.weights is not None:
            raise UsageError(
                f"the model geometric has no weights, and {options.network.weights} is given",
                hint="name the model that the weights belong to with --model",
            )
        return options.model
    if options.network.weights is not None:
        raise UsageError(
            f"weights are given ({options.network.weights}), but not for which model",
            hint="add --model align3r-depthanything, or another of `align3r models list`",
        )
    if resolve_device(options.device).type == "cpu":
        log.info("model: geometric (embedded; there is no GPU for a learned one)")
        return "geometric"
    best = _BEST.get(options.prior.model, _BEST["auto"])
    needed = needed_weights(replace(options, model=best))
    missing = [spec for spec in needed if not is_available(spec)]
    if missing:
        log.info("model: geometric (the weights of %s are not to be had)", " and ".join(missing))
        return "geometric"
    log.info("model: %s (there is a GPU, and its weights can be had)", best)
    return best


def check_options(options: Options) -> None:
    """Refuse options that the model cannot obey, rather than to pass over them.

    Args:
        options: With the model chosen.

    Raises:
        UsageError: Two of them contradict each other.
    """
    model, motion = MODELS[options.model], options.motion
    prior_of(options)
    if model.finds_flow and motion.flow not in ("auto", "dis"):
        raise UsageError(
            f"{options.model} computes its own flow (DIS), and {motion.flow} is asked for",
            hint="leave out --flow, or choose a learned model with --model",
        )
    if motion.refine != "none" and (options.camera.masks is not None or not motion.enabled):
        raise UsageError(
            f"{motion.refine} refines automatic masks, and there are none",
            hint="leave out --masks sam2, or your own masks, or --motion.no-enabled",
        )


def unread_options(options: Options) -> list[str]:
    """Options that were set although nothing in this run reads them, as on the command line.

    Args:
        options: With the model chosen.
    """
    unread = _unread_by_the_network(options)
    if not looks_at_depth(options):
        unread += _changed("prior", options.prior, PriorOptions())
    else:
        own, posed = options.prior.dir is not None, options.camera.posed
        names = ["--prior.weights" if own else "--prior.kind"]
        names += [] if own and not posed else ["--prior.metric"]
        changed = _changed("prior", options.prior, PriorOptions())
        unread += [name for name in changed if name in names]
    return unread + _unread_by_the_aligner(options.align)


def _unread_by_the_network(options: Options) -> list[str]:
    """What a model without a network, or one that does not go pair by pair, does not look at."""
    model = MODELS[options.model]
    changed = _changed("network", options.network, NetworkOptions())
    if not model.weights_bytes:
        return changed
    pairwise = ["--network.batch", "--network.cache-gb", "--network.compile"]
    return [name for name in changed if model.sees_all and name in pairwise]


def _unread_by_the_aligner(align: AlignOptions) -> list[str]:
    """Numbers of a solver or a geometry that is not used."""
    names = [] if align.solver == "adam" else ["steps", "learning_rate"]
    names += [] if align.geometry == "scale-grid" else ["cells"]
    names += ["smooth_weight", "prior_weight"] if align.solver == "none" else []
    usual = AlignOptions()
    changed = [name for name in names if getattr(align, name) != getattr(usual, name)]
    return [f"--align.{name.replace('_', '-')}" for name in changed]


def _changed(
    group: str, given: NetworkOptions | PriorOptions, usual: NetworkOptions | PriorOptions
) -> list[str]:
    names = [field.name for field in fields(given)]
    changed = [name for name in names if getattr(given, name) != getattr(usual, name)]
    # To ask for no prior is obeyed.
    obeyed = {("prior", "model"): "none"}
    changed = [name for name in changed if obeyed.get((group, name)) != getattr(given, name)]
    return [f"--{group}.{name.replace('_', '-')}" for name in changed]
