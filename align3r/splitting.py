"""Videos with cuts: every shot is reconstructed by itself, into a folder of its own.

out/
  shots.json            format, version, source, and one entry a shot: folder, first and last
                        frame in the source, start and end in seconds, scale, error
  shot_000/ ...         a result each, as if its part of the video had been given alone
"""

from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from align3r.config import InputOptions, Options
from align3r.errors import Align3rError, SolveError
from align3r.io.cache import fingerprint
from align3r.io.lock import one_run_at_a_time
from align3r.io.places import check_inputs_stay, output_place
from align3r.io.result import load
from align3r.io.sources import Source, resolve_source
from align3r.io.video import read_frames
from align3r.io.whole import check_output, disk_errors_in_words, move_into_place
from align3r.pipeline import reconstruct
from align3r.progress import as_report
from align3r.reconstruction import Reconstruction
from align3r.types import Frames, Progress

log = logging.getLogger(__name__)

INDEX = "shots.json"
FORMAT = "align3r-shots"
_KEY = "key.txt"


def reconstruct_shots(
    source: Source,
    *,
    out: str | Path,
    options: Options | None = None,
    progress: bool | Progress = False,
) -> list[dict[str, Any]]:
    """Find the cuts of a video and reconstruct every shot by itself.

    A shot that cannot be solved is noted and does not stop the others. Interrupted, the same call
    goes on with the shot that it was at. `max_frames` holds for each shot.

    Args:
        source: As for `reconstruct`.
        out: Folder that gets one result a shot and shots.json, whole or not at all.
        options: All options.
        progress: As for `reconstruct`.

    Returns:
        What shots.json holds about each shot; `folder` is None where there is none.

    Raises:
        UsageError: As for `reconstruct`.
        InputError: The input cannot be read, or the output not written.
        SolveError: No shot at all can be solved.
        Align3rError: Whatever else `reconstruct` raises.
    """
    out, options = output_place(out), options or Options()
    check_inputs_stay(out, source, options)
    check_output(out, options.output.overwrite)
    with one_run_at_a_time(out):
        frames = _glance(source, options.input, progress)
        work = _work_folder(out, fingerprint(source, options))
        try:
            entries = _all_shots(source, work, frames, options, progress=progress)
        except Align3rError:
            # What is done is of use to the next run; a folder of nothing is not.
            if not any(work.glob("shot_*/scene.json")):
                shutil.rmtree(work, ignore_errors=True)
            raise
        about = {"format": FORMAT, "version": 1, "source": frames.source, "shots": entries}
        with disk_errors_in_words(out):
            text = json.dumps(about, indent=2, allow_nan=False)
            (work / INDEX).write_text(text + "\n", encoding="utf-8")
            (work / _KEY).unlink()
            move_into_place(work, out)
    return entries


def shot_inputs(frames: Frames, wanted: InputOptions) -> list[InputOptions]:
    """The same choice of frames, for each shot by itself.

    Args:
        frames: All frames up to `stop`, with their cuts.
        wanted: What the user chose.
    """
    times = frames.times - frames.times[0]
    # Between two frames, where no rounding moves one to the other side.
    cuts = [float(times[k - 1] + times[k]) / 2 for k in frames.cuts]
    cuts = [time for time in cuts if time > wanted.start]
    borders = [wanted.start, *cuts, wanted.stop]
    return [replace(wanted, start=a or 0.0, stop=b) for a, b in pairwise(borders)]


def _glance(source: Source, wanted: InputOptions, progress: bool | Progress) -> Frames:
    """Times and cuts of all frames up to `stop`."""
    resolved = resolve_source(source)
    timed = resolved.is_video or resolved.times is not None
    # Without times, the frame rate makes them; with times it leaves frames out.
    fps = None if timed else wanted.fps
    every = InputOptions(stop=wanted.stop, fps=fps, size=wanted.size)
    return read_frames(source, every, fit="glance", progress=as_report(progress))


def _work_folder(out: Path, key: str) -> Path:
    """Where the shots are collected; what another input or other options left there is removed."""
    work = out.with_name(f".{out.name}.shots")
    with disk_errors_in_words(out):
        path = work / _KEY
        if work.exists() and not (path.is_file() and path.read_text(encoding="utf-8") == key):
            shutil.rmtree(work)
        work.mkdir(parents=True, exist_ok=True)
        path.write_text(key, encoding="utf-8")
    return work


def _all_shots(
    source: Source,
    work: Path,
    frames: Frames,
    options: Options,
    *,
    progress: bool | Progress,
) -> list[dict[str, Any]]:
    """Reconstruct one shot after the other, and what to say about each.

    Raises:
        SolveError: Not one of them can be solved.
    """
    entries = []
    parts = shot_inputs(frames, options.input)
    for number, part in enumerate(parts):
        log.info("shot %d of %d", number + 1, len(parts))
        shot = replace(options, input=part)
        entries.append(_one_shot(source, work / f"shot_{number:03d}", shot, progress))
    if all(entry["folder"] is None for entry in entries):
        raise SolveError(
            f"none of the {len(entries)} shots can be solved; the first: {entries[0]['error']}",
            hint="look at the video: does the camera move, is there texture?",
        )
    return entries


def _one_shot(
    source: Source, folder: Path, options: Options, progress: bool | Progress
) -> dict[str, Any]:
    """Reconstruct a shot, unless that is done, and what to say about it."""
    # A shot's result is there whole or not at all.
    scene: Reconstruction | None = None
    error = None
    try:
        if (folder / "scene.json").is_file():
            log.info("%s is there already", folder.name)
            scene = load(folder)
        else:
            scene = reconstruct(source, out=folder, options=options, progress=progress)
    except SolveError as failed:
        error = str(failed)
        log.warning("%s cannot be solved: %s", folder.name, error)
    return {
        "folder": None if scene is None else folder.name,
        "n_frames": 0 if scene is None else len(scene),
        "source_first": None if scene is None else int(scene.frame_index[0]),
        "source_last": None if scene is None else int(scene.frame_index[-1]),
        "start": options.input.start if scene is None else float(scene.times[0]),
        "end": options.input.stop if scene is None else float(scene.times[-1]),
        "scale": None if scene is None else scene.scale,
        "error": error,
    }
