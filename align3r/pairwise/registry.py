"""Which predictor a model name stands for."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from align3r.config import Options, PrecisionName, PriorName
from align3r.device import resolve_device, resolve_precision
from align3r.errors import UsageError
from align3r.io.fitting import FitName
from align3r.io.priors import Kind
from align3r.models.adapter_file import apply_adapter, check_fits, read_adapter
from align3r.models.checkpoint import Checkpoint, read_checkpoint
from align3r.models.cut3r.loading import fit_cut3r, load_cut3r
from align3r.models.loading import fit as fit_pair_network
from align3r.models.loading import load_pair_network
from align3r.models.pair_network import PairNetwork
from align3r.models.vggt.loading import fit_vggt, load_vggt
from align3r.models.weights import locate
from align3r.pairwise.geometric.predictor import GeometricPredictor
from align3r.pairwise.multiview.cut3r import Cut3rLook
from align3r.pairwise.multiview.predictor import MultiViewPredictor
from align3r.pairwise.multiview.vggt import PASS_BYTES, VggtLook
from align3r.pairwise.network.predictor import NetworkPredictor, RunOptions
from align3r.pairwise.predictor import PairPredictor

log = logging.getLogger(__name__)

Network = TypeVar("Network", bound=nn.Module)
Predictor = TypeVar("Predictor", bound=PairPredictor)


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
    sees_all: bool = False
    """Whether it sees all frames before it answers for pairs, and not pair by pair."""
    pass_bytes: tuple[int, int] = (0, 0)
    """What it works with where it sees all frames at once: bytes a pixel of every frame, and bytes
    a pixel of one frame, whatever their number."""
    published_in: PrecisionName = "auto"
    """Number format that its published figures were measured in; auto: half precision."""
    fit_weights: Callable[[Checkpoint], tuple[nn.Module, object]] = fit_pair_network
    """The network of a checkpoint without its numbers, or WeightsError."""


def _geometric(options: Options) -> PairPredictor:
    motion = options.motion
    return GeometricPredictor(motion_threshold=motion.threshold, find_motion=motion.enabled)


def _network(name: str, options: Options) -> PairPredictor:
    device = resolve_device(options.device)
    precision = resolve_precision(options.network.precision, device)
    network = _adapted(load_pair_network(locate(options.network.weights or name)), options)
    run = RunOptions(
        device=device,
        batch=options.network.batch,
        cache_bytes=int(options.network.cache_gb * 1e9),
        compile=options.network.compile,
    )
    network.in_precision(blocks=precision, heads=_heads(precision, device)).to(device)
    return _told(NetworkPredictor(name, network, run), device, precision)


def _vggt(options: Options) -> PairPredictor:
    device = resolve_device(options.device)
    dtype = resolve_precision(options.network.precision, device)
    network = _adapted(load_vggt(locate(options.network.weights or "vggt")), options)
    network.aggregator.in_precision(dtype)
    look = VggtLook(network.to(device), device)
    return _told(MultiViewPredictor("vggt", look), device, dtype)


def _cut3r(options: Options) -> PairPredictor:
    device = resolve_device(options.device)
    dtype = resolve_precision(options.network.precision, device)
    network = _adapted(load_cut3r(locate(options.network.weights or "cut3r")), options)
    network.in_precision(blocks=dtype, heads=_heads(dtype, device))
    look = Cut3rLook(network.to(device), device)
    return _told(MultiViewPredictor("cut3r", look), device, dtype)


def _adapted(network: Network, options: Options) -> Network:
    if options.network.adapter is not None:
        apply_adapter(network, options.network.adapter)
    return network


def _heads(precision: torch.dtype, device: torch.device) -> torch.dtype:
    # On a CPU the convolutions of the heads are as slow as all the rest, so they are halved too.
    return precision if device.type == "cpu" else torch.float32


def _told(predictor: Predictor, device: torch.device, precision: torch.dtype) -> Predictor:
    log.info("%s on %s, %s", predictor.name, device, str(precision).removeprefix("torch."))
    return predictor


def check_network(options: Options) -> None:
    """Find out, without reading the numbers, whether the weights are of the model asked for, and
    the adapter for those weights.

    Raises:
        WeightsError: They are damaged, or of no such network; or the adapter is none.
        UsageError: They are of another kind of pair network, or the adapter is.
    """
    weights, model = options.network.weights or options.model, MODELS[options.model]
    network, _ = model.fit_weights(read_checkpoint(locate(weights)))
    is_pair = isinstance(network, PairNetwork)
    if is_pair and network.takes_point_maps != (model.prior is not None):
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
        published_in="fp32",
    )


MODELS: dict[str, Model] = {
    "geometric": Model(_geometric, finds_flow=True),
    "dust3r": _learned("dust3r"),
    "monst3r": _learned("monst3r"),
    "align3r-depthanything": _learned(
        "align3r-depthanything", prior="depthanything-large", prior_kind="disparity"
    ),
    "align3r-depthpro": _learned("align3r-depthpro", prior="depthpro"),
    "vggt": Model(
        _vggt,
        fit="vggt",
        weights_bytes=5_100_000_000,
        sees_all=True,
        pass_bytes=PASS_BYTES,
        fit_weights=fit_vggt,
    ),
    "cut3r": Model(
        _cut3r,
        fit="network",
        weights_bytes=3_200_000_000,
        sees_all=True,
        published_in="fp32",
        fit_weights=fit_cut3r,
    ),
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
