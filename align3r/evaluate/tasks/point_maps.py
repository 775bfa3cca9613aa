"""Point maps of pairs of images, straight from a pair predictor: nothing is aligned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from align3r.config import Options
from align3r.given import read_given
from align3r.pairwise.needs import looks_at_depth
from align3r.pairwise.predictor import PairPredictor
from align3r.pairwise.registry import MODELS, make_predictor
from align3r.prediction import see_depth
from align3r.progress import Report


def point_maps(
    images: Sequence[Path], edges: np.ndarray, options: Options, report: Report
) -> np.ndarray:
    """(E, 2, h, w, 3) float32 points of both images of each pair, in the camera of its first.

    Args:
        images: Files, all of one size.
        edges: (E, 2) pairs of them; an image may be its own partner.
        options: The model, and how it runs.
        report: Told of the progress.

    Raises:
        Align3rError: What reading, depth networks and predictors raise.
    """
    options = replace(options, pairs=replace(options.pairs, loops=False))
    source = [str(image) for image in images]
    given = read_given(source, options, fit=MODELS[options.model].fit, report=report)
    given = replace(given, edges=edges)
    mono = see_depth(given, options, report) if looks_at_depth(options) else None
    found = _predictor(options).predict(
        given.frames, edges, known=given.known.exact, mono=mono, progress=report
    )
    return np.asarray(found.points.float().cpu().numpy())


@lru_cache(maxsize=1)
def _predictor(options: Options) -> PairPredictor:
    """Loaded once for all the images of an evaluation."""
    return make_predictor(options)
