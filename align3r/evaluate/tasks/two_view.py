"""Relative pose of two images: matches between point maps, and the essential matrix."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from itertools import chain

import numpy as np

from align3r.config import Options
from align3r.datasets.image_pair import ImagePair
from align3r.errors import SolveError
from align3r.evaluate.metrics import (
    pose_from_matches,
    reciprocal_matches,
    two_view_error,
)
from align3r.evaluate.pose_scores import two_view_scores
from align3r.evaluate.protocols import PoseRules, Protocol
from align3r.evaluate.tasks.point_maps import point_maps
from align3r.evaluate.tasks.values import Measured
from align3r.progress import Report


def measure(
    pairs: Sequence[ImagePair], protocol: Protocol, options: Options, report: Report
) -> Measured:
    """All pairs of one scene; images in which nothing can be solved count as lost pairs.

    Raises:
        Align3rError: What predictors raise, but for SolveError.
    """
    images = list(dict.fromkeys(chain.from_iterable(pair.images for pair in pairs)))
    edges = np.array([[images.index(image) for image in pair.images] for pair in pairs])
    about: dict[str, object] = {}
    try:
        points = point_maps(images, edges, options, report)
    except SolveError as error:
        points = np.full((len(pairs), 2, 1, 1, 3), np.nan, np.float32)
        about["not_solved"] = str(error)
    found = [_errors(pair, maps, protocol.poses) for pair, maps in zip(pairs, points, strict=True)]
    errors = np.array(list(chain.from_iterable(found)))
    row = two_view_scores(errors[:, 0], errors[:, 1], protocol.poses)
    about |= {"rotation_deg": errors[:, 0].tolist(), "translation_deg": errors[:, 1].tolist()}
    frames = tuple(f"{pair.ids[0]}-{pair.ids[1]}" for pair in pairs)
    return Measured(row | {"pairs": float(len(pairs))}, frames, about)


def _errors(pair: ImagePair, maps: np.ndarray, rules: PoseRules) -> list[tuple[float, float]]:
    """Rotation and translation error in degrees, of every repeat; inf where there is no pose.

    Args:
        pair: What is true.
        maps: (2, h, w, 3) points of both images in one frame.
        rules: Of the protocol.
    """
    height, width = maps.shape[1:3]
    numbers = reciprocal_matches(*(points.reshape(-1, 3) for points in maps))
    # Pixels of the images for which the intrinsics hold; a pixel's centre is a whole number.
    step = np.array([pair.size[0] / width, pair.size[1] / height])
    matches = [
        (np.stack([number % width, number // width], axis=1) + 0.5) * step - 0.5
        for number in numbers
    ]
    random = np.random.default_rng(zlib.crc32("/".join((pair.scene, *pair.ids)).encode()))
    found = []
    for _ in range(rules.repeats):
        drawn = np.arange(len(matches[0]))
        if rules.repeats > 1 or rules.most_matches is not None:
            drawn = random.permutation(drawn)[: rules.most_matches]
        pose = pose_from_matches(
            (matches[0][drawn], matches[1][drawn]),
            (pair.intrinsics[0], pair.intrinsics[1]),
            threshold_px=rules.threshold_px,
        )
        lost = (np.inf, np.inf)
        found.append(lost if pose is None else two_view_error(pair.b_from_a, pose[0], pose[1]))
    return found
