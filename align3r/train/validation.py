"""How good a network is on what is held out: depth of single images, by MoGe's protocol."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import numpy as np
import torch
from torch import nn

from align3r.errors import InputError, UsageError
from align3r.evaluate.metrics import MogePrediction, MogeTruth, average_rows, moge_errors
from align3r.evaluate.metrics.resizing import resize_depth
from align3r.io.fitting import FITS, NetworkPlan, resized_size
from align3r.mono.point_map import fit_point_map, point_map
from align3r.progress import Report
from align3r.train.data.shares import parse_held_out
from align3r.train.data.sources import Source
from align3r.train.data.values import SourceView
from align3r.train.options import DataOptions, parse_size
from align3r.train.students import answer, fit_of

HeldOut = Mapping[str, Callable[[], Iterable[SourceView]]]
"""By data set: gives its frames, each time anew."""

MEASURED = {
    "abs_rel": "depth_scale_invariant_rel",
    "delta1": "depth_scale_invariant_delta1",
    "boundary_f1": "boundary_f1_radius1",
}
"""What is measured, by its name in MoGe's protocol: errors of depth up to a scale, relative and
within a factor of 1.25, and how well its jumps are those of the truth."""


def validate(
    network: nn.Module,
    held_out: HeldOut,
    report: Report,
    *,
    long_side: int,
    labelled: Callable[[SourceView], SourceView] | None = None,
) -> dict[str, float]:
    """Means over the frames of each data set, `dataset/metric`.

    Args:
        network: One of `students.STUDENTS`, on its device.
        held_out: Frames; those without a true depth are passed by.
        report: Called as report("validation", done, total).
        long_side: Of the images that the network is given, pixels.
        labelled: Gives frames the values that an Align3R looks at.

    Raises:
        InputError: A frame cannot be read, or is too small.
        UsageError: None of the frames of a data set has a true depth.
    """
    out: dict[str, float] = {}
    training = network.training
    network.eval()
    for done, (name, frames) in enumerate(held_out.items()):
        report("validation", done, len(held_out))
        means = average_rows(_rows(network, name, frames(), long_side=long_side, labelled=labelled))
        out |= {f"{name}/{metric}": means[metric] for metric in MEASURED if metric in means}
    report("validation", len(held_out), len(held_out))
    network.train(training)
    return out


def _rows(
    network: nn.Module,
    name: str,
    frames: Iterable[SourceView],
    *,
    long_side: int,
    labelled: Callable[[SourceView], SourceView] | None,
) -> list[dict[str, float]]:
    rows, count = [], 0
    for view in frames:
        count += 1
        if view.has_depth:
            given = view if labelled is None else labelled(view)
            rows.append(errors_of(network, given, long_side))
    if not rows:
        raise UsageError(
            f"none of the {count} frames of {name} has a true depth",
            hint=f"leave {name} out of --data.validation",
        )
    return rows


def errors_of(network: nn.Module, view: SourceView, long_side: int) -> dict[str, float]:
    """What is `MEASURED` of one frame, whose prediction is enlarged bilinearly to its truth.

    Args:
        network: One of `students.STUDENTS`.
        view: With a true depth.
        long_side: Of the image that the network is given, pixels.

    Raises:
        InputError: The frame is too small.
    """
    assert view.depth is not None
    depth = own_depth(network, view, long_side)
    truth = MogeTruth(depth=view.depth, mask=view.depth > 0, sharp=True)
    shape = view.depth.shape[0], view.depth.shape[1]
    prediction = MogePrediction(depth=resize_depth(depth, shape, "bilinear"), kind="scale")
    errors = moge_errors(truth, prediction)
    return {name: errors[measured] for name, measured in MEASURED.items()}


@torch.no_grad()
def own_depth(network: nn.Module, view: SourceView, long_side: int) -> np.ndarray:
    """(h, w) z-depth that a network tells of a frame alone, fitted to it as for an evaluation.

    Raises:
        InputError: The frame is too small.
    """
    height, width = view.image.shape[:2]
    try:
        fit = FITS[fit_of(network)]((width, height), long_side)
    except InputError as error:
        raise InputError(
            f"{view.name} is held out and too small or too flat: it is {width}x{height}, seen at "
            f"--data.sizes of up to {long_side}",
            hint="leave it out of --data.validation, or train with larger --data.sizes",
        ) from error
    device = next(network.parameters()).device
    image = torch.tensor(fit.apply(view.image)).to(device).permute(2, 0, 1) / 255
    maps = None
    if view.prior is not None:
        plan = NetworkPlan(resized_size((width, height), max(fit.size)), fit.size)
        points = fit_point_map(point_map(view.prior), plan)
        maps = torch.from_numpy(points).to(device)[None, None]
    found = answer(network, image[None, None], maps, joint=False)
    return np.asarray(found.depth[0, 0].float().cpu().numpy())


def held_out_frames(data: DataOptions) -> HeldOut:
    """What the options hold out; nothing is read but lists of names.

    Raises:
        UsageError: A part is not of the form DATASET=ROOT, or names what is not there.
        InputError: A folder is not there, or holds no such data.
    """
    found: dict[str, Callable[[], Iterable[SourceView]]] = {}
    times: Counter[str] = Counter()
    for share in map(parse_held_out, data.validation):
        times[share.dataset] += 1
        again = f"-{times[share.dataset]}" if times[share.dataset] > 1 else ""
        found[share.dataset + again] = partial(Source(share).evenly, data.validation_samples)
    return found


def longest_side(data: DataOptions) -> int:
    """The long side of the images that are trained on, of options that are filled."""
    return max(side for size in data.sizes for side in parse_size(size))
