"""What a known lens is worth, and how well cuts are told from what looks like one.

    python benchmarks/inputs.py lens                         the example through a lens
    python benchmarks/inputs.py cuts --data DIR              clips, spliced and spoilt

With `pip install scenedetect-headless`, `cuts` has a column for each of two detectors of
PySceneDetect. DIR holds clips/lady-running.mp4 and rgbd_static_a/rgb.txt; without it, the example
and a rendered turn of the camera are all there is. Prints tables; `--json FILE` keeps them.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from align3r import reconstruct
from align3r.config import CameraOptions, InputOptions, Options
from align3r.datasets.rendered.clip import render
from align3r.io.shots import ShotFinder
from align3r.io.video import read_frames, source_images

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
import lens_clips  # noqa: E402

SIZE = (320, 240)
Images = list[np.ndarray]


def lens_rows() -> list[dict[str, Any]]:
    """The example filmed through a lens, with more and less said about it."""
    f, bent = lens_clips.FOCAL, lens_clips.BENT
    straight = float(lens_clips.TRUTH["K"][0, 0, 0])
    ways = {
        "lens, nothing said": (True, CameraOptions()),
        "lens, focal length": (True, CameraOptions(focal=f)),
        "lens, focal length and distortion": (True, CameraOptions(focal=f, distortion=bent)),
        "no lens, nothing said": (False, CameraOptions()),
        "no lens, focal length": (False, CameraOptions(focal=straight)),
    }
    rows = []
    with tempfile.TemporaryDirectory() as place:
        frames = lens_clips.clip_frames()
        clips = {
            True: lens_clips.write_clip(lens_clips.distorted(frames), Path(place) / "bent.mkv"),
            False: lens_clips.write_clip(frames, Path(place) / "straight.mkv"),
        }
        for name, (is_bent, camera) in ways.items():
            options = Options(
                model="geometric",
                device="cpu",
                camera=camera,
                input=InputOptions(max_frames=12, size=256),
            )
            started = time.perf_counter()
            scene = reconstruct(clips[is_bent], options=options)
            miss = lens_clips.relative_miss(scene.world_from_cam, scene.frame_index)
            seconds = round(time.perf_counter() - started, 1)
            row = {"what": name, "path error m": round(miss, 4)}
            rows.append(row | {"focal px": round(scene.intrinsics[0, 0, 0], 1), "s": seconds})
    return rows


def scaled(images: Images, gain: Callable[[int], float], more: float = 0.0) -> Images:
    """Brighter or darker by a factor that depends on the number of the frame."""
    return [
        np.clip(image * gain(k) + more * (gain(k) > 1), 0, 255).astype(np.uint8)
        for k, image in enumerate(images)
    ]


def dissolve(a: Images, b: Images, n: int = 10) -> Images:
    """The last frames of one over the first of the other."""
    parts = zip(a[-n:], b[:n], np.linspace(0, 1, n), strict=True)
    return [*a[:-n], *(cv2.addWeighted(x, 1 - t, y, t, 0) for x, y, t in parts), *b[n:]]


def spoilt(name: str, clip: Images, middle: int) -> dict[str, tuple[Images, list[int]]]:
    """One shot with what is no cut in the middle of it."""
    near = {
        "flash": scaled(clip, lambda k: 3.5 if k in (middle, middle + 1) else 1.0, more=60),
        "white frame": scaled(clip, lambda k: 1e3 if k == middle else 1.0),
        "4 black frames": scaled(clip, lambda k: float(not middle <= k < middle + 4)),
        "fade": scaled(clip, lambda k: min(abs(k - middle) / 6, 1.0)),
        "light goes on": scaled(clip, lambda k: 0.3 if k < middle else 1.0),
    }
    return {f"{name}: {what}": (images, []) for what, images in near.items()}


def whip(clips: list[Images], speed: int) -> Images:
    """A whip pan over a wide picture made of frames, with motion blur."""
    wide = np.concatenate([clip[len(clip) // 2] for clip in clips * 2], 1)
    width, frames, x = SIZE[0], [], 0
    for k in range(30):
        step = speed if 10 <= k < 16 else 2
        view = wide[:, x : x + width]
        frames.append(cv2.blur(view, (step // 2, 1)) if step > 4 else view.copy())
        x = min(x + step, wide.shape[1] - width)
    return frames


def cut_cases(data: Path | None) -> dict[str, tuple[Images, list[int]]]:
    """Images by name, with the numbers of the frames that begin a shot."""
    turn = render("rotate", n_frames=24, size=(192, 144), smooth=1).images
    clips = {"example": loaded(ROOT / "examples" / "clip.mp4"), "turn": [fitted(i) for i in turn]}
    if data is not None:
        clips["runner"] = loaded(data / "clips" / "lady-running.mp4")
        clips["kitchen"] = loaded(data / "rgbd_static_a" / "rgb.txt")
    cases: dict[str, tuple[Images, list[int]]] = {}
    for name, clip in clips.items():
        cases[name] = (clip, [])
        cases[f"{name}, every 3rd frame"] = (clip[::3], [])
        cases |= spoilt(name, clip, len(clip) // 2)
    for speed in (60, 120, 200):
        cases[f"whip pan, {speed} px a frame"] = (whip(list(clips.values()), speed), [])
    # The example and the turn are of one room.
    names = [name for name in clips if name != "turn"]
    for one in names:
        for other in names:
            if one == other:
                continue
            a, b = clips[one], clips[other]
            cases[f"{one} | {other}"] = (a + b, [len(a)])
            dark = scaled(a + b, lambda _: 0.2)
            cases[f"{one} | {other}, dark"] = (dark, [len(a)])
            black = [np.zeros_like(a[0])] * 3
            cases[f"{one} | 3 black | {other}"] = (a + black + b, [len(a) + 3])
            cases[f"{one}, dissolved into {other}"] = (dissolve(a, b), [])
    return cases


def loaded(path: Path) -> Images:
    frames = read_frames(path, InputOptions(size=64))
    return [fitted(image) for image in source_images(path, frames.index)]


def fitted(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, SIZE, interpolation=cv2.INTER_AREA)


def ours(images: Images) -> list[int]:
    finder = ShotFinder()
    for number, image in enumerate(images):
        finder.add(image, number)
    return list(finder.finish())


def detectors() -> dict[str, Callable[[Images], list[int]]]:
    """By name: what is given all frames and tells the cuts."""
    found: dict[str, Callable[[Images], list[int]]] = {"align3r": ours}
    try:
        from scenedetect import FrameTimecode
        from scenedetect.detectors import AdaptiveDetector, ContentDetector
    except ImportError:
        return found

    def with_library(kind: Any) -> Callable[[Images], list[int]]:
        def cuts(images: Images) -> list[int]:
            detector, found = kind(), []
            for number, image in enumerate(images):
                bgr = np.ascontiguousarray(image[..., ::-1])
                found += detector.process_frame(FrameTimecode(number, 25.0), bgr)
            found += detector.post_process(FrameTimecode(len(images) - 1, 25.0))
            return [cut.frame_num for cut in found]

        return cuts

    found["PySceneDetect adaptive"] = with_library(AdaptiveDetector)
    found["PySceneDetect content"] = with_library(ContentDetector)
    return found


def apart(these: list[int], those: list[int]) -> int:
    """How many of these are not among those; black frames may belong to either shot."""
    return sum(all(abs(one - other) > 3 for other in those) for one in these)


def cut_rows(data: Path | None) -> list[dict[str, Any]]:
    """A row a clip, then how many each detector gets right, misses and makes up."""
    totals = {name: {"right": 0, "missed": 0, "false": 0, "s": 0.0} for name in detectors()}
    rows, n_frames = [], 0
    for what, (images, true) in cut_cases(data).items():
        row: dict[str, Any] = {"clip": what, "true": true}
        n_frames += len(images)
        for name, detect in detectors().items():
            started = time.perf_counter()
            row[name] = detect(images)
            total = totals[name]
            total["s"] += time.perf_counter() - started
            missed, false = apart(true, row[name]), apart(row[name], true)
            total["right"] += missed == false == 0
            total["missed"] += missed
            total["false"] += false
        rows.append(row)
    n_clips = len(rows)
    for name, total in totals.items():
        spent = round(1e3 * total.pop("s") / n_frames, 2)
        rows.append({"detector": name, "clips": n_clips, **total, "ms a frame": spent})
    return rows


def show(rows: list[dict[str, Any]]) -> None:
    """A Markdown table for each run of rows with the same columns."""
    before: list[str] = []
    for row in rows:
        if list(row) != before:
            before = list(row)
            print("\n| " + " | ".join(before) + " |\n" + "| --- " * len(before) + "|")
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=["lens", "cuts"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rows = lens_rows() if args.what == "lens" else cut_rows(args.data)
    show(rows)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
