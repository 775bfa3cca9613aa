"""Which predictor a model name stands for, and what it needs."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import torch

from align3r.config import (
    AlignOptions,
    ModelName,
    NetworkOptions,
    Options,
    PriorName,
    PriorOptions,
)
from align3r.device import resolve_device, resolve_precision
from align3r.errors import UsageError
from align3r.io.fitting import FitName
from align3r.io.priors import Kind
from align3r.models.checkpoint import read_checkpoint
from align3r.models.loading import fit, load_pair_network
from align3r.models.weights import is_available, is_cached, locate, resolve
from align3r.pairwise.geometric.predictor import GeometricPredictor
from align3r.pairwise.network.predictor import NetworkPredictor, RunOptions
from align3r.pairwise.predictor import PairPredictor

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Model:
    """A pair predictor and what it is to be fed with."""

    make: Callable[[Options], PairPredictor]
    """Loads it."""
    fit: FitName = "area"
    """How frames become working images."""
    prior: PriorName | None = None
    """The depth network it was trained with, if it looks at monocular depth."""
    prior_kind: Kind = "depth"
    """What the values of that network are, which any other prior is turned into."""
    weights_bytes: int = 0
    """Size of its weights in memory, at the most."""
    finds_flow: bool = False
    """Whether it computes optical flow of its own."""


def _geometric(options: Options) -> PairPredictor:
    motion = options.motion
    return GeometricPredictor(motion_threshold=motion.threshold, find_motion=motion.enabled)


def _network(name: str, options: Options) -> PairPredictor:
    device = resolve_device(options.device)
    precision = resolve_precision(options.network.precision, device)
    network = load_pair_network(locate(options.network.weights or name))
    # On a CPU the convolutions of the heads are as slow as all the rest, so they are halved too.
    heads = precision if device.type == "cpu" else torch.float32
    run = RunOptions(
        device=device,
        batch=options.network.batch,
        cache_bytes=int(options.network.cache_gb * 1e9),
        compile=options.network.compile,
    )
    network.in_precision(blocks=precision, heads=heads).to(device)
    log.info("%s on %s, %s", name, device, str(precision).removeprefix("torch."))
    return NetworkPredictor(name, network, run)


def check_network(options: Options) -> None:
    """Find out, without reading the numbers, whether the weights are of the model asked for.

    Raises:
        WeightsError: They are damaged, or of no pair network.
        UsageError: They are of another kind of pair network.
    """
    weights = options.network.weights or options.model
    network, _ = fit(read_checkpoint(locate(weights)))
    if network.takes_point_maps != (MODELS[options.model].prior is not None):
        kind = "an Align3R" if network.takes_point_maps else "a DUSt3R or MonST3R"
        raise UsageError(
            f"{weights} holds {kind} network, and the model asked for is {options.model}",
            hint="name the model that the weights belong to with --model",
        )


def _learned(name: str, *, prior: PriorName | None = None, prior_kind: Kind = "depth") -> Model:
    return Model(
        partial(_network, name),
        fit="network",
        prior=prior,
        prior_kind=prior_kind,
        weights_bytes=2_500_000_000,
    )


MODELS: dict[str, Model] = {
    "geometric": Model(_geometric, finds_flow=True),
    "dust3r": _learned("dust3r"),
    "monst3r": _learned("monst3r"),
    "align3r-depthanything": _learned(
        "align3r-depthanything", prior="depthanything-large", prior_kind="disparity"
    ),
    "align3r-depthpro": _learned("align3r-depthpro", prior="depthpro"),
}
"""By the names of `--model`; one that is asked for by name is never replaced by another."""

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


def prior_of(options: Options) -> PriorName | None:
    """The depth network that a run needs; None: none, or the user's own maps.

    Args:
        options: With the model chosen.

    Raises:
        UsageError: A model that cannot do without monocular depth is to do without.
    """
    wanted, trained = options.prior.model, MODELS[options.model].prior
    if options.prior.dir is not None:
        if wanted not in ("auto", "none"):
            raise UsageError(
                f"your own depth maps and the depth network {wanted} are asked for",
                hint="give either --prior-dir or --prior",
            )
        return None
    if wanted == "none" and trained is not None:
        raise UsageError(
            f"{options.model} needs monocular depth", hint=f"use --prior {trained}, or --prior-dir"
        )
    if wanted == "auto":
        return trained
    return None if wanted == "none" else wanted


def looks_at_depth(options: Options) -> bool:
    """Whether anything in a run looks at monocular depth."""
    align = options.align
    used = MODELS[options.model].prior is not None or align.geometry != "depth"
    used = used or align.prior_weight > 0
    # Poses give the unit before a depth in metres does.
    metric = options.prior.metric and not options.camera.posed and options.scale != "relative"
    used = used or (options.prior.dir is not None and metric)
    return used and (options.prior.dir is not None or prior_of(options) is not None)


def prior_in_metres(options: Options) -> bool:
    """Whether a run looks at monocular depth that is in metres.

    Args:
        options: With the model chosen.
    """
    if not looks_at_depth(options):
        return False
    if options.prior.dir is not None:
        return options.prior.metric
    name = prior_of(options)
    return name is not None and ("metric" in name or name == "depthpro")


def unread_options(options: Options) -> list[str]:
    """Options that were set although nothing in this run reads them, as on the command line.

    Args:
        options: With the model chosen.
    """
    unread = []
    if not MODELS[options.model].weights_bytes:
        unread += _changed("network", options.network, NetworkOptions())
    if not looks_at_depth(options):
        unread += _changed("prior", options.prior, PriorOptions())
    else:
        own, posed = options.prior.dir is not None, options.camera.posed
        names = ["--prior.weights" if own else "--prior.kind"]
        names += [] if own and not posed else ["--prior.metric"]
        changed = _changed("prior", options.prior, PriorOptions())
        unread += [name for name in changed if name in names]
    return unread + _unread_by_the_aligner(options.align)


def _unread_by_the_aligner(align: AlignOptions) -> list[str]:
    """Numbers of a solver or a geometry that is not used."""
    names = [] if align.solver == "adam" else ["steps", "learning_rate"]
    names += [] if align.geometry == "scale-grid" else ["cells"]
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


def needed_weights(options: Options) -> list[str]:
    """What must be on this machine before a run: names in the catalogue, files or folders.

    Args:
        options: With the model chosen.
    """
    needed = []
    if MODELS[options.model].weights_bytes:
        needed.append(options.network.weights or options.model)
    prior = prior_of(options)
    if prior is not None and looks_at_depth(options):
        needed.append(options.prior.weights or prior)
    if options.motion.enabled and options.motion.refine == "sam2":
        needed.append("sam2")
    return needed


def missing_weights(options: Options) -> list[str]:
    """Those of `needed_weights` that would have to be downloaded.

    Raises:
        WeightsError: What is named is neither here nor anywhere.
    """
    return [spec for spec in needed_weights(options) if not _is_here(spec)]


def _is_here(spec: str) -> bool:
    resolve(spec)
    return is_cached(spec)


def weights_bytes(options: Options) -> int:
    """Memory for the weights of the pair predictor: of those given, or of the published ones."""
    given = options.network.weights
    path = None if given is None else Path(given).expanduser()
    if path is None or not path.exists():
        return MODELS[options.model].weights_bytes
    files = [path] if path.is_file() else path.glob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def make_predictor(options: Options) -> PairPredictor:
    """Load the predictor of `options.model`, which is not `auto` any more.

    Raises:
        WeightsError: Its weights are not to be had.
    """
    return MODELS[options.model].make(options)
