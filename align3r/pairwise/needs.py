"""What a run with its model needs: monocular depth, and weights on this machine."""

from __future__ import annotations

from align3r.config import Options, PriorName
from align3r.errors import UsageError
from align3r.models.weights import is_cached, resolve
from align3r.pairwise.registry import MODELS

_IN_METRES = ("depthpro", "moge2")
"""Depth networks whose depth is in metres, beside those that have it in their names."""


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
    return name is not None and ("metric" in name or name in _IN_METRES)


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
