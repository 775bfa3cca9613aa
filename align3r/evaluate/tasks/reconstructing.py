"""A sequence of a data set, reconstructed as a user would."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from align3r import pipeline
from align3r.config import InputOptions, Options
from align3r.datasets.sequence import Sequence
from align3r.errors import UsageError
from align3r.io.png import write_image
from align3r.progress import Report
from align3r.reconstruction import Reconstruction


def reconstruct_sequence(sequence: Sequence, options: Options, report: Report) -> Reconstruction:
    """Reconstruct all frames of a sequence; nothing of the truth is given away.

    Raises:
        Align3rError: What `reconstruct` raises.
    """
    options = with_rate(options, sequence)
    with image_files(sequence) as files:
        return pipeline.reconstruct([str(file) for file in files], options=options, progress=report)


@contextmanager
def image_files(sequence: Sequence) -> Iterator[tuple[Path, ...]]:
    """The image files of a sequence; written for the while where the data set has none."""
    if sequence.images:
        yield sequence.images
        return
    with tempfile.TemporaryDirectory(prefix="align3r-frames-") as folder:
        files = tuple(Path(folder) / f"{i:06d}.png" for i in range(len(sequence)))
        for i, file in enumerate(files):
            write_image(sequence.image(i), file)
        yield files


def check_options(options: Options) -> None:
    """Refuse options that would change what is measured.

    Raises:
        UsageError: Frames are chosen, or cameras are given away.
    """
    chosen = replace(options.input, size=InputOptions.size)
    if chosen != InputOptions():
        raise UsageError(
            "options choose the frames (start, stop, stride, fps or max-frames), and so does the "
            "protocol",
            hint="leave them out, or name sequences with --sequences",
        )
    if options.camera.posed or options.camera.masks or options.prior.dir:
        raise UsageError(
            "poses, masks or depth maps of your own belong to one video, and a data set has many",
            hint="leave them out",
        )


def with_options(options: Options, prescribed: Mapping[str, Any]) -> Options:
    """The options with some replaced, which are named as `pairs.graph` is."""
    for name, value in prescribed.items():
        group, _, field = name.rpartition(".")
        if not group:
            options = replace(options, **{field: value})
            continue
        inner = replace(getattr(options, group), **{field: value})
        options = replace(options, **{group: inner})
    return options


def option(options: Options, name: str) -> Any:
    """The value of an option that is named as `pairs.graph` is."""
    return attrgetter(name)(options)


def with_rate(options: Options, sequence: Sequence) -> Options:
    """The options with the frame rate of a sequence, where its times say one."""
    steps = np.diff(sequence.truth.times)
    steady = len(steps) and np.isfinite(steps).all() and np.median(steps) > 0
    rate = float(1.0 / np.median(steps)) if steady else None
    return replace(options, input=replace(options.input, fps=rate))
