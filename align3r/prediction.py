"""What is seen in frames and pairs before anything is solved: depth, points, flow, motion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from align3r.config import Options
from align3r.device import exact_convolutions, resolve_device, resolve_precision
from align3r.errors import WeightsError
from align3r.flow.choose import make_flow
from align3r.flow.pairs import pair_flows
from align3r.given import Given
from align3r.io.priors import PriorMaps
from align3r.io.storage import Storage
from align3r.io.video import source_images
from align3r.models.weights import is_cached, locate
from align3r.mono.monocular import monocular_depth
from align3r.mono.registry import make_depth_network
from align3r.motion.ego_motion import moving_masks
from align3r.motion.sam2 import Follow, Sam2, refine_masks
from align3r.motion.solved import solved_masks
from align3r.pairwise.needs import needed_weights, prior_of
from align3r.pairwise.predictor import PairJournal
from align3r.pairwise.registry import MODELS, check_network, make_predictor
from align3r.progress import Report
from align3r.types import Frames, MonoDepth, PairPredictions, Solution


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


def see_depth(given: Given, options: Options, report: Report) -> MonoDepth:
    """Monocular depth: the user's own, or a network's.

    Raises:
        WeightsError: The depth network is not to be had.
        InputError: The user's own maps cannot be read.
    """
    frames, wanted = given.frames, MODELS[options.model].prior_kind
    if options.prior.dir is not None:
        maps = PriorMaps(
            options.prior.dir, frames, kind=options.prior.kind, is_metric=options.prior.metric
        )
        return monocular_depth((), frames, maps, network_kind=wanted, report=report)
    name = prior_of(options)
    assert name is not None
    device = resolve_device(options.device)
    # Once a frame, so in float32 unless told otherwise: bf16 leaves steps of 0.4 % in the depth.
    named = options.network.precision
    dtype = resolve_precision("fp32" if named == "auto" else named, device)
    network = make_depth_network(options.prior, name, device=device, dtype=dtype)
    images = source_images(given.source, frames.index, lenses=frames.lenses)
    with exact_convolutions(device):
        return monocular_depth(images, frames, network, network_kind=wanted, report=report)


def see_pairs(
    given: Given,
    mono: MonoDepth | None,
    options: Options,
    report: Report,
    *,
    journal: PairJournal | None = None,
    storage: Storage | None = None,
) -> PairPredictions:
    """Pairs with their flows and moving masks, whoever finds those: the predictor or we.

    With a journal, a slow predictor keeps finished pairs there and finds them again; the storage
    gives out the arrays of predictions and flows.

    Raises:
        WeightsError: Weights of a network are not to be had.
        SolveError: The video says nothing.
        InputError: There is no space left on the disk.
    """
    frames, edges, masks = given.frames, given.edges, given.masks
    # Everything is loaded before anything is computed.
    flow = follow = None
    device = resolve_device(options.device)
    seeks_motion = masks is None and options.motion.enabled
    if not MODELS[options.model].finds_flow and (seeks_motion or options.align.flow_weight > 0):
        flow = make_flow(options.motion.flow, device)
    if options.motion.refine == "sam2":
        follow = Sam2(locate("sam2"), device=device)
    found = make_predictor(options).predict(
        frames,
        edges,
        known=given.known.exact,
        mono=mono,
        moving=masks,
        progress=report,
        journal=journal,
        storage=storage,
    )
    if flow is not None:
        flows = pair_flows(
            frames.images,
            edges,
            flow,
            on_pair=lambda k, n: report("flow", k, n),
            storage=storage,
        )
        found = replace(found, flows=flows)
    found = _with_masks(found, given, options, follow=follow, report=report)
    return found if MODELS[options.model].finds_flow else _unstretched(found, frames, journal)


def _with_masks(
    found: PairPredictions,
    given: Given,
    options: Options,
    *,
    follow: Follow | None,
    report: Report,
) -> PairPredictions:
    """The predictions with moving masks: the user's, the predictor's, or ours."""
    images = given.frames.images
    if given.masks is not None or not options.motion.enabled:
        still = np.zeros(images.shape[:3], bool)
        return replace(found, moving=still if given.masks is None else given.masks)
    if found.moving is None and found.flows is not None:
        moving = moving_masks(
            found, found.flows, len(images), options.motion.threshold, images=images
        )
        found = replace(found, moving=moving)
    # Masks that are found again once the cameras are solved are followed then.
    if follow is not None and found.moving is not None and not looks_again(found, given, options):
        found = replace(found, moving=_followed(found.moving, images, follow, report))
    return found


def looks_again(found: PairPredictions, given: Given, options: Options) -> bool:
    """Whether the moving masks are a first guess of ours, to be found again from the solution."""
    ours = options.motion.enabled and given.masks is None
    return ours and found.flows is not None and not MODELS[options.model].finds_flow


def see_motion_again(
    solution: Solution, found: PairPredictions, given: Given, options: Options, *, report: Report
) -> np.ndarray:
    """(N, h, w) moving masks from solved cameras and depth.

    Raises:
        WeightsError: SAM 2 was asked for and is not to be had.
    """
    assert found.flows is not None
    images, aspect = given.frames.images, found.aspect
    if given.known.intrinsics is not None:
        ratio = given.known.intrinsics[:, 0, 0] / given.known.intrinsics[:, 1, 1]
        aspect = float(np.nanmedian(ratio)) if np.isfinite(ratio).any() else aspect
    report("moving masks", 0, 1)
    moving = solved_masks(
        solution, found.flows, options.motion.threshold, aspect=aspect, images=images
    )
    report("moving masks", 1, 1)
    if options.motion.refine != "sam2":
        return moving
    follow = Sam2(locate("sam2"), device=resolve_device(options.device))
    return _followed(moving, images, follow, report)


def _followed(moving: np.ndarray, images: np.ndarray, follow: Follow, report: Report) -> np.ndarray:
    """The masks with the outlines that SAM 2 gives them."""
    return refine_masks(
        images, moving, follow, on_frame=lambda k, n: report("following masks", k, n)
    )


def _unstretched(
    found: PairPredictions, frames: Frames, journal: PairJournal | None
) -> PairPredictions:
    """The points in a world as high as it is.

    Networks take the pixels they see for square; those of a stretched frame are not, and what
    they answer is stretched alike.
    """
    (width, height), (source_width, source_height) = frames.size, frames.source_size
    aspect = (width / source_width) / (height / source_height)
    if aspect != 1.0:
        if journal is not None:
            journal.forget()  # What is half done must not be done twice by the next run.
        for points in found.points:
            points[..., 1] *= aspect
    return replace(found, aspect=aspect)
