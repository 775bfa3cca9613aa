"""What is seen in frames and pairs before anything is solved: depth, points, flow, motion."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from align3r.config import Options
from align3r.device import exact_convolutions, resolve_device, resolve_precision
from align3r.errors import WeightsError
from align3r.flow.choose import make_flow
from align3r.flow.pairs import pair_flows
from align3r.given import Given
from align3r.io.priors import PriorMaps
from align3r.io.video import source_images
from align3r.models.weights import is_cached, locate
from align3r.mono.monocular import monocular_depth
from align3r.mono.registry import make_depth_network
from align3r.motion.ego_motion import moving_masks
from align3r.motion.sam2 import Sam2, refine_masks
from align3r.pairwise.predictor import PairJournal
from align3r.pairwise.registry import (
    MODELS,
    check_network,
    make_predictor,
    needed_weights,
    prior_of,
)
from align3r.progress import Report
from align3r.types import MonoDepth, PairPredictions

log = logging.getLogger(__name__)


def fetch_weights(options: Options) -> None:
    """Have all weights of a run on this machine before any work is done.

    Raises:
        WeightsError: Some are not to be had; the hint names every one that is missing.
    """
    needed = needed_weights(options)
    for k, spec in enumerate(needed):
        try:
            locate(spec)
        except WeightsError as error:
            others = [other for other in needed[k + 1 :] if not is_cached(other)]
            also = f"; {' and '.join(others)} will be needed, too" if others else ""
            raise WeightsError(str(error), hint=error.hint + also) from error
    if MODELS[options.model].weights_bytes:
        check_network(options)
    if options.motion.flow != "auto":
        make_flow(options.motion.flow, resolve_device(options.device))


def wants_depth(options: Options) -> bool:
    """Whether a run looks at monocular depth; says so if it was asked for in vain."""
    if options.prior.dir is None and prior_of(options) is None:
        return False
    if MODELS[options.model].prior is None and options.align.geometry == "depth":
        log.warning(
            "monocular depth is not looked at: %s does without it, and so do depth maps "
            "(--align.geometry scale would use it)",
            options.model,
        )
        return False
    return True


def see_depth(given: Given, options: Options, report: Report) -> MonoDepth:
    """Monocular depth: the user's own, or a network's.

    Raises:
        WeightsError: The depth network is not to be had.
        InputError: The user's own maps cannot be read.
    """
    frames, wanted = given.frames, MODELS[options.model].prior_kind
    if options.prior.dir is not None:
        maps = PriorMaps(options.prior.dir, frames, kind=options.prior.kind)
        return monocular_depth((), frames, maps, network_kind=wanted, report=report)
    name = prior_of(options)
    assert name is not None
    device = resolve_device(options.device)
    # Once a frame, so in float32 unless told otherwise: bf16 leaves steps of 0.4 % in the depth.
    named = options.network.precision
    dtype = resolve_precision("fp32" if named == "auto" else named, device)
    network = make_depth_network(options.prior, name, device=device, dtype=dtype)
    images = source_images(given.source, frames.index)
    with exact_convolutions(device):
        return monocular_depth(images, frames, network, network_kind=wanted, report=report)


def see_pairs(
    given: Given,
    mono: MonoDepth | None,
    options: Options,
    report: Report,
    journal: PairJournal | None = None,
) -> PairPredictions:
    """Pairs with their flows and moving masks, whoever finds those: the predictor or we.

    With a journal, a slow predictor keeps finished pairs there and finds them again.

    Raises:
        WeightsError: Weights of a network are not to be had.
        SolveError: The video says nothing.
    """
    frames, edges, masks = given.frames, given.edges, given.masks
    # Everything is loaded before anything is computed.
    flow = follow = None
    device = resolve_device(options.device)
    if not MODELS[options.model].finds_flow:
        flow = make_flow(options.motion.flow, device)
    if options.motion.refine == "sam2":
        follow = Sam2(locate("sam2"), device=device)
    predict: Callable[..., PairPredictions] = make_predictor(options).predict
    if journal is not None:
        predict = partial(predict, journal=journal)
    found = predict(frames, edges, known=given.known, mono=mono, moving=masks, progress=report)
    if flow is not None:
        flows = pair_flows(frames.images, edges, flow, on_pair=lambda k, n: report("flow", k, n))
        found = replace(found, flows=flows)
    if masks is not None or not options.motion.enabled:
        still = np.zeros(frames.images.shape[:3], bool)
        return replace(found, moving=still if masks is None else masks)
    if found.moving is None and found.flows is not None:
        moving = moving_masks(found, found.flows, len(frames), options.motion.threshold)
        found = replace(found, moving=moving)
    if follow is not None and found.moving is not None:
        moving = refine_masks(
            frames.images,
            found.moving,
            follow,
            on_frame=lambda k, n: report("following masks", k, n),
        )
        found = replace(found, moving=moving)
    return found
