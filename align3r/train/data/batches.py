"""Batches by the number of their step: the same bytes whoever makes them, in whatever order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
from torch.utils.data import Dataset

from align3r.errors import InputError, UsageError
from align3r.train.data.collate import collate
from align3r.train.data.crops import CropSettings, Size, check_croppable, crop, overlapping_crops
from align3r.train.data.mixture import Mixture
from align3r.train.data.shares import parse_share, parse_strides
from align3r.train.data.sources import Source
from align3r.train.data.values import Batch, Sample, SourceView, UnfitFrameError
from align3r.train.options import DataOptions, parse_size

Single = Literal["single", "repeat", "crops"]
"""What becomes of a single image: a sample of one view, the same view again, parts of it."""
Labelled = Callable[[SourceView], SourceView]
"""Fills in the label of a frame, or its prior; it is sent to other processes."""

_SAMPLE = 2
"""What numbers are drawn for, as in `mixture`."""
_TRIES = 10
"""Samples that are tried in place of one that cannot be read."""


class _Drawn(NamedTuple):
    views: tuple[SourceView, ...]
    is_single: bool
    rng: np.random.Generator
    left_out: list[str]


class Batches(Dataset[Batch]):
    """Batches by (step, number of the batch in the step)."""

    def __init__(
        self,
        sources: Sequence[Source],
        mixture: Mixture,
        *,
        single: Single = "single",
        crops: CropSettings | None = None,
        labelled: Labelled | None = None,
    ) -> None:
        """Draw from sources; nothing is read yet.

        Args:
            sources: One a share of the mixture.
            mixture: What is drawn when.
            single: What becomes of single images.
            crops: What is random in a crop; the defaults if None.
            labelled: Is given every frame before it is cropped.
        """
        self.sources = tuple(sources)
        self.mixture = mixture
        self.single: Single = single
        self.crops = crops or CropSettings()
        self.labelled = labelled

    def micro_batches(self, step: int) -> int:
        """How many batches a step has."""
        return len(self.mixture.batches(step))

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        """One batch.

        Raises:
            InputError: A sample cannot be read, and nor can those that were tried in its place; or
                what fills frames in cannot do so.
            UsageError: No sequence of a source is as long as the samples of the step.
        """
        shape = self.mixture.shape(key[0])
        drawn = self._all_drawn(key)
        size = _turned(shape.size, [view for each in drawn for view in each.views])
        samples = [self._cropped(each, size, shape.length) for each in drawn]
        return replace(
            collate(samples),
            weight=sum(len(sample.views) for sample in samples) / self.mixture.views(key[0]),
            left_out=tuple(text for each in drawn for text in each.left_out),
        )

    def frames(self, key: tuple[int, int]) -> list[SourceView]:
        """The frames that a batch is cut from, as read and labelled.

        Raises:
            InputError, UsageError: As for the batch.
        """
        return [view for each in self._all_drawn(key) for view in each.views]

    def _all_drawn(self, key: tuple[int, int]) -> list[_Drawn]:
        step, number = key
        length = self.mixture.shape(step).length
        return [self._drawn(each, length) for each in self.mixture.batches(step)[number]]

    def _drawn(self, number: int, length: int) -> _Drawn:
        """The frames of a sample, as read; what cannot be read gives way to another sample."""
        share, visit = self.mixture.draw(number)
        source = self.sources[share]
        left_out: list[str] = []
        for attempt in range(_TRIES):
            rng = np.random.default_rng([self.mixture.seed, _SAMPLE, number, attempt])
            if attempt:
                visit = int(rng.integers(2**31))
            try:
                views = _read(source, visit, length, rng)
                if self.labelled is not None:
                    views = tuple(self.labelled(view) for view in views)
                return _Drawn(views, source.is_single, rng, left_out)
            except UnfitFrameError as error:
                left_out.append(str(error))
                last = error
        raise last

    def _cropped(self, drawn: _Drawn, size: Size, length: int) -> Sample:
        views, rng = drawn.views, drawn.rng
        if not drawn.is_single:
            cut = tuple(crop(view, size, rng, self.crops) for view in views)
        elif self.single == "crops":
            cut = overlapping_crops(views[0], size, rng, self.crops, count=length)
        else:
            cut = (crop(views[0], size, rng, self.crops),)
            cut *= length if self.single == "repeat" else 1
        known = not drawn.is_single and all(
            np.isfinite(view.intrinsics).all()
            and np.isfinite(view.world_from_cam).all()
            and np.isfinite(view.depth).any()
            for view in cut
        )
        return Sample(cut, is_multi_view=len(cut) > 1 and known)


def make_batches(
    data: DataOptions, *, effective_batch: int, seed: int, labelled: Labelled | None = None
) -> Batches:
    """The batches that options ask for.

    Args:
        data: With sizes, lengths and `views_a_batch` filled in.
        effective_batch: Samples a step.
        seed: Of all that is random.
        labelled: Is given every frame before it is cropped.

    Raises:
        InputError: A folder is not there, or holds no such data.
        UsageError: An option makes no sense, or chooses nothing.
    """
    strides = parse_strides(data.strides)
    shares = [parse_share(text) for text in data.data]
    unused = strides.keys() - {share.dataset for share in shares}
    if unused:
        raise UsageError(
            f"--data.strides is about {', '.join(sorted(unused))}, which is not trained on",
            hint="leave it out, or add the data set to --data.data",
        )
    sources = [
        Source(share, seed=seed + i, strides=strides.get(share.dataset))
        for i, share in enumerate(shares)
    ]
    for source in sources:
        source.check_length(max(data.lengths, default=1))
    mixture = Mixture(
        samples=tuple(share.samples or 0 for share in shares),
        singles=tuple(source.is_single and data.single == "single" for source in sources),
        sizes=tuple(parse_size(size) for size in data.sizes),
        lengths=data.lengths,
        effective_batch=effective_batch,
        views_a_batch=data.views_a_batch or max(data.lengths, default=1),
        seed=seed,
    )
    crops = CropSettings(offset=data.crop_offset, zoom=data.zoom, jitter=data.jitter)
    return Batches(sources, mixture, single=data.single, crops=crops, labelled=labelled)


def _read(
    source: Source, visit: int, length: int, rng: np.random.Generator
) -> tuple[SourceView, ...]:
    """Frames that can be cropped.

    Raises:
        UnfitFrameError: One cannot be read or cropped; no fault of whoever labels it.
        UsageError: No sequence is as long.
    """
    try:
        views = source.draw(visit, length, rng)
        for view in views:
            check_croppable(view)
    except InputError as error:
        raise UnfitFrameError(str(error), hint=error.hint) from error
    return views


def _turned(size: Size, views: Sequence[SourceView]) -> Size:
    """A size on its side, turned upright if all images of a batch are taller than wide.

    A batch has one size, so a single wide image keeps the others from it; sizes that are upright
    themselves stay as they are.
    """
    upright = all(view.image.shape[0] > view.image.shape[1] for view in views)
    width, height = size
    return (height, width) if upright and width > height else size
