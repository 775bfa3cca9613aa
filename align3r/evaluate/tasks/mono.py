"""Depth of single images by MoGe's protocol: the image is its own partner."""

from __future__ import annotations

import tempfile
from pathlib import Path

import cv2
import numpy as np

from align3r.config import Options
from align3r.datasets.centred_view import centred_view
from align3r.datasets.depth_sample import DepthSample
from align3r.evaluate.metrics import MogePrediction, MogeTruth, moge_errors
from align3r.evaluate.pictures import single_depth
from align3r.evaluate.protocols import Protocol
from align3r.evaluate.tasks.point_maps import point_maps
from align3r.evaluate.tasks.values import Measured
from align3r.geometry.cameras import rays
from align3r.io.png import write_image
from align3r.progress import Report


def measure(sample: DepthSample, protocol: Protocol, options: Options, report: Report) -> Measured:
    """Points of the first view of the pair (image, image), enlarged bilinearly to the true depth.

    Raises:
        InputError: The sample's camera makes no sense.
        Align3rError: What predictors raise.
    """
    view = centred_view(sample, protocol.size or sample.size)
    width, height = view.size
    with tempfile.TemporaryDirectory(prefix="align3r-image-") as folder:
        file = Path(folder) / "image.png"
        write_image(view.image, file)
        small = point_maps([file], np.zeros((1, 2), np.int64), options, report)[0, 0]
    points = np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))
    mask = np.isfinite(view.depth)
    row = moge_errors(
        MogeTruth(
            depth=view.depth,
            mask=mask,
            points=_rays(view) * view.depth[..., None],
            segments=view.segmentation,
            sharp=protocol.sharp,
        ),
        MogePrediction(depth=points[..., 2], points=points, kind="scale"),
    )
    picture = single_depth(view.image, np.where(mask, view.depth, np.nan), points[..., 2])
    return Measured(row, (sample.name,), {}, {"depth": picture})


def _rays(view: DepthSample) -> np.ndarray:
    """(H, W, 3) with z = 1."""
    k, (width, height) = view.intrinsics, view.size
    return rays((height, width), k[0, 0], (k[0, 2], k[1, 2]), aspect=k[0, 0] / k[1, 1])
