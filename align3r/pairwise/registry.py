"""Which predictor a model name stands for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from align3r.config import Options, PriorName
from align3r.device import resolve_device, resolve_precision
from align3r.errors import UsageError
from align3r.io.fitting import FitName
from align3r.io.priors import Kind
from align3r.models.adapter_file import apply_adapter, check_fits, read_adapter
from align3r.models.checkpoint import read_checkpoint
from align3r.models.loading import fit, load_pair_network
from align3r.models.weights import locate
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
    if options.network.adapter is not None:
        apply_adapter(network, options.network.adapter)
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
    """Find out, without reading the numbers, whether the weights are of the model asked for, and
    the adapter for those weights.

    Raises:
        WeightsError: They are damaged, or of no pair network; or the adapter is none.
        UsageError: They are of another kind of pair network, or the adapter is.
    """
    weights = options.network.weights or options.model
    network, _ = fit(read_checkpoint(locate(weights)))
    if network.takes_point_maps != (MODELS[options.model].prior is not None):
        kind = "an Align3R" if network.takes_point_maps else "a DUSt3R or MonST3R"
        raise UsageError(
            f"{weights} holds {kind} network, and the model asked for is {options.model}",
            hint="name the model that the weights belong to with --model",
        )
    if options.network.adapter is not None:
        check_fits(read_adapter(options.network.adapter), network)


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
