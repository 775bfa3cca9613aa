"""Which predictor a model name stands for."""

from __future__ import annotations

import logging
from collections.abc import Callable

from align3r.config import MotionOptions, Options
from align3r.pairwise.geometric.predictor import GeometricPredictor
from align3r.pairwise.predictor import PairPredictor

log = logging.getLogger(__name__)


def _geometric(motion: MotionOptions) -> PairPredictor:
    return GeometricPredictor(motion_threshold=motion.threshold, find_motion=motion.enabled)


PREDICTORS: dict[str, Callable[[MotionOptions], PairPredictor]] = {"geometric": _geometric}


def make_predictor(options: Options) -> PairPredictor:
    """The predictor asked for; `auto` says which it took and why."""
    name = options.model
    if name == "auto":
        name = "geometric"
        log.info("model: geometric (embedded; needs no weights and no download)")
    return PREDICTORS[name](options.motion)
