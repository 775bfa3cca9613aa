"""Frames and their times from a video or images, shrunk to the working size on reading."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from align3r.config import InputOptions
from align3r.errors import InputError, UsageError
from align3r.io.calibration import CameraFinder
from align3r.io.capture import USUAL_FPS, announced_frames, check_complete, grab_all, open_video
from align3r.io.collector import FrameCollector
from align3r.io.fitting import FitName
from align3r.io.images import quiet_opencv, read_rgb
from align3r.io.lenses import Undistorter
from align3r.io.picking import FramePicker, check_input_options, spread
from align3r.io.sources import ResolvedSource, Source, resolve_source
from align3r.types import Frames, LensCamera, Progress

log = logging.getLogger(__name__)


def read_frames(
    source: Source,
    options: InputOptions,
    *,
    fit: FitName = "area",
    cameras: CameraFinder | None = None,
    progress: Progress | None = None,
) -> Frames:
    """Read the frames that take part, at the working size.

    Cuts are looked for in all frames of a video from `start` to `stop`, and in those images of a
    folder or list that take part.

    Args:
        source: A video (mp4, mov, mkv, webm, avi), a folder of images, a glob pattern, a .txt
            list (one path a line, or `timestamp path`), an image, or a list of images.
        options: Which frames, and how large. `start` and `stop` count from the first frame.
            `fps` thins videos and lists with times; it is the frame rate of other images.
        fit: How the frames become working images: `area` averages and never enlarges, `network`
            does as the pair networks were trained.
        cameras: Those with a lens that distorts have that undone first.
        progress: Called as progress("read", done, total); total 0 means unknown. With
            `max_frames` a video is counted first, as progress("scan", done, total).

    Returns:
        N >= 1 frames with the times of the container, rotation tags obeyed.

    Raises:
        InputError: The input is missing, unreadable, empty, broken, too small, or mixes sizes; or
            a lens is known for some frames only, or is none.
        UsageError: The options make no sense, or choose no frame.
    """
    check_input_options(options)
    resolved = resolve_source(source)
    collector = FrameCollector(fit, options.size, cameras)
    if resolved.is_video:
        _read_video(resolved.paths[0], options, collector, progress=progress)
    else:
        _read_images(resolved, options, collector, progress=progress)
    return collector.frames(resolved.name)


def source_images(
    source: Source,
    index: Sequence[int] | np.ndarray,
    *,
    lenses: Sequence[LensCamera] = (),
) -> Iterator[np.ndarray]:
    """Read frames again, one at a time, at the source size.

    Args:
        source: What `read_frames` was given.
        index: Increasing numbers of frames in the source: `Frames.index`.
        lenses: Their cameras, to undo the distortion: `Frames.lenses` or
            `Reconstruction.lenses`. Empty: the frames are given as they are.

    Yields:
        (H, W, 3) uint8 RGB, rotation tags obeyed.

    Raises:
        InputError: The source cannot be read, or no longer holds such a frame.
    """
    images = _images_as_they_are(resolve_source(source), index)
    if not len(lenses):
        yield from images
        return
    undistorter = Undistorter()
    for image, camera in zip(images, lenses, strict=True):
        yield undistorter.apply(image, camera)


def _images_as_they_are(
    resolved: ResolvedSource, index: Sequence[int] | np.ndarray
) -> Iterator[np.ndarray]:
    if resolved.is_video:
        yield from _video_images(resolved.paths[0], index)
        return
    for number in index:
        if number >= len(resolved.paths):
            raise _frame_is_gone(resolved.name, number)
        yield read_rgb(resolved.paths[number])


def _video_images(path: Path, index: Sequence[int] | np.ndarray) -> Iterator[np.ndarray]:
    with quiet_opencv():
        capture = open_video(path)
    try:
        position = -1
        for number in index:
            with quiet_opencv():
                # Stepped, not sought: seeking lands elsewhere in many a container.
                while position < number and capture.grab():
                    position += 1
                there, image = capture.retrieve() if position == number else (False, None)
            if not there or image is None:
                raise _frame_is_gone(path.name, number)
            yield cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _read_images(
    resolved: ResolvedSource,
    options: InputOptions,
    collector: FrameCollector,
    *,
    progress: Progress | None,
) -> None:
    times = resolved.times
    picker = FramePicker(options, thin_to_fps=times is not None)
    if times is None:
        times = np.arange(len(resolved.paths)) / (options.fps or USUAL_FPS)
    picked = [number for number, time in enumerate(times) if picker.wants(float(time))]
    picked = spread(picked, options.max_frames)
    if not picked:
        raise _nothing_picked(resolved.name, options, last=float(times[-1] - times[0]))
    for done, number in enumerate(picked, start=1):
        path = resolved.paths[number]
        image, time = read_rgb(path), float(times[number])
        collector.shots.add(image, number)
        collector.add(image, name=str(path), time=time, number=number, file=str(path))
        if progress:
            progress("read", done, len(picked))


def _read_video(
    path: Path, options: InputOptions, collector: FrameCollector, *, progress: Progress | None
) -> None:
    picker = FramePicker(options, thin_to_fps=True)
    # Spreading needs the number of frames, which no container tells reliably: look twice.
    wanted = _spread_over_video(path, options, progress=progress) if options.max_frames else None
    number, time = -1, 0.0
    with quiet_opencv():
        capture = open_video(path)
        announced = announced_frames(capture)
        for number, time in grab_all(capture):
            if progress:
                progress("read", number + 1, announced)
            if picker.is_over(time):
                break
            takes_part = picker.wants(time) if wanted is None else number in wanted
            # Cuts are looked for in all frames: between two that are far apart none can be told.
            if not (takes_part or picker.has_begun(time)):
                continue
            there, image = capture.retrieve()
            if there and image is not None:
                collector.shots.add(image, number)
                if takes_part:
                    image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
                    name = f"frame {number} of {path.name}"
                    collector.add(image, name=name, time=time, number=number)
            elif takes_part:
                log.warning("frame %d of %s cannot be decoded and is left out", number, path.name)
        else:
            check_complete(path, decoded=number + 1, announced=announced)
        capture.release()
    if not len(collector):
        raise _nothing_picked(path.name, options, last=time)


def _spread_over_video(
    path: Path, options: InputOptions, *, progress: Progress | None
) -> frozenset[int]:
    picker = FramePicker(options, thin_to_fps=True)
    picked = []
    with quiet_opencv():
        capture = open_video(path)
        announced = announced_frames(capture)
        for number, time in grab_all(capture):
            if progress:
                progress("scan", number + 1, announced)
            if picker.is_over(time):
                break
            if picker.wants(time):
                picked.append(number)
        capture.release()
    return frozenset(spread(picked, options.max_frames))


def _nothing_picked(name: str, options: InputOptions, *, last: float) -> UsageError:
    return UsageError(
        f"no frame of {name} takes part: its last frame is at {last:.2f} s, "
        f"--start is {options.start:g} s",
        hint="give an earlier --start, or a later --stop",
    )


def _frame_is_gone(name: str, number: int) -> InputError:
    return InputError(
        f"frame {number} of {name} cannot be read a second time",
        hint="do not change the input while it is worked on",
    )
