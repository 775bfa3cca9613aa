"""What a training is made of: data, whoever looks at it before, and the network that learns."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path

import torch
from torch import nn

from align3r.errors import UsageError
from align3r.progress import Report
from align3r.train.align3r_task import Align3rTask, Validate
from align3r.train.data.batches import Batches, Labelled, make_batches
from align3r.train.filling import Options, takes_point_maps
from align3r.train.fin3r import Fin3rTask
from align3r.train.labels import make_labels
from align3r.train.options import Fin3rOptions
from align3r.train.priors import make_priors
from align3r.train.schedule import total_steps
from align3r.train.seeing import InTurn
from align3r.train.validation import HeldOut, held_out_frames, longest_side, validate

LABELS, PRIORS = "labels", "priors"
"""Folders in that of a training, where no others are named."""


@dataclass(frozen=True)
class Ingredients:
    """All but the network."""

    options: Options
    """Without gaps."""
    batches: Batches
    labels: tuple[Labelled, ...]
    """What gives frames the labels of a teacher; none for Align3R."""
    priors: tuple[Labelled, ...]
    """What gives frames monocular depth; none for networks that look at images alone."""
    held_out: HeldOut

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return total_steps(self.options.loop, self.batches.mixture.epoch)

    @property
    def hooks(self) -> InTurn:
        """All that frames are given; networks that others have loaded are not among them."""
        return InTurn(tuple(copy.copy(hook) for hook in (*self.labels, *self.priors)))


def gather(options: Options, out: Path, *, device: torch.device) -> Ingredients:
    """Find the data, and whoever looks at it; no network is loaded yet.

    Args:
        options: Without gaps, see `filling.filled`.
        out: Folder of the training.
        device: Where networks compute.

    Raises:
        UsageError: Options make no sense, or choose nothing.
        InputError: A folder is not there, or holds no such data.
        WeightsError: Weights of a teacher or of a monocular network are not to be had.
    """
    batches, held_out = open_data(options), held_out_frames(options.data)
    labels: tuple[Labelled, ...] = ()
    priors: tuple[Labelled, ...] = ()
    if isinstance(options, Fin3rOptions):
        labels = (make_labels(options.teacher, labels_folder(options, out), device=device),)
    if takes_point_maps(options):
        prior, place = options.prior, priors_folder(options, out)
        priors = (make_priors(prior.model, prior.weights, place, device=device),)
    found = Ingredients(options, batches, labels, priors, held_out)
    batches.labelled = found.hooks
    return found


def open_data(options: Options) -> Batches:
    """What is trained on, without what networks say of it.

    Raises:
        UsageError: Options make no sense, or choose what nothing can be learned from.
        InputError: A folder is not there, or holds no such data.
    """
    loop = options.loop
    batches = make_batches(options.data, effective_batch=loop.effective_batch, seed=loop.seed)
    _check_data(options, batches)
    return batches


def labels_folder(options: Fin3rOptions, out: Path) -> Path:
    """Where labels are kept."""
    return _folder(options.teacher.labels, out / LABELS)


def priors_folder(options: Options, out: Path) -> Path:
    """Where monocular depth is kept."""
    return _folder(options.prior.maps, out / PRIORS)


def make_task(found: Ingredients) -> Fin3rTask | Align3rTask:
    """Load the network that is trained, on the CPU; it is validated if anything is held out.

    Raises:
        WeightsError: Weights are not to be had, damaged, or of another network.
        UsageError: They are not of the network that they should be of.
    """
    return task_of(found.options, partial(_validated, found) if found.held_out else None)


def task_of(options: Options, validation: Validate | None = None) -> Fin3rTask | Align3rTask:
    """As `make_task`, validated by anything."""
    if isinstance(options, Fin3rOptions):
        return Fin3rTask.from_options(options, validation=validation)
    return Align3rTask.from_options(options, validation=validation)


def _validated(found: Ingredients, network: nn.Module, report: Report) -> dict[str, float]:
    """Metrics on what is held out; a monocular network does not stay in memory after it."""
    return validate(
        network,
        found.held_out,
        report,
        long_side=longest_side(found.options.data),
        labelled=InTurn(tuple(map(copy.copy, found.priors))),
    )


def _check_data(options: Options, batches: Batches) -> None:
    """Refuse data from which nothing can be learned.

    Raises:
        UsageError: Single images where pairs are needed, or no depth or camera where the truth is.
    """
    is_fin3r = isinstance(options, Fin3rOptions)
    needs_truth = options.prior.model == "truth" and takes_point_maps(options)
    needs_truth |= not isinstance(options, Fin3rOptions) or options.teacher.model == "truth"
    for source in batches.sources:
        row = source.dataset
        if source.is_single and not is_fin3r:
            raise UsageError(
                f"{row.title} holds single images, and Align3R learns from pairs of one scene",
                hint=f"leave {row.name} out of --data.data",
            )
        if needs_truth and not source.has(attrgetter("has_depth")):
            raise UsageError(
                f"{row.title} has no true depth to be learned from",
                hint=f"leave {row.name} out of --data.data; Fin3R also learns from a network",
            )
        if not is_fin3r and not source.has(attrgetter("has_points")):
            raise UsageError(
                f"{row.title} has no camera poses, or no intrinsics, and Align3R learns where "
                "points are in the world",
                hint=f"leave {row.name} out of --data.data",
            )


def _folder(given: str | None, otherwise: Path) -> Path:
    return otherwise if given is None else Path(given).expanduser()
