"""Small films, and a pipeline that answers at once: commands can be tested by themselves."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

import align3r
from align3r.config import Options
from align3r.reconstruction import Reconstruction
from align3r.view.folder import save

CLIP = Path(__file__).resolve().parents[2] / "examples" / "clip.mp4"


@pytest.fixture(scope="session")
def two_films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two clips of four small frames: a.mp4 and b.mp4."""
    folder = tmp_path_factory.mktemp("films")
    capture = cv2.VideoCapture(str(CLIP))
    images = [cv2.resize(capture.read()[1], (96, 72)) for _ in range(24)][::4]
    for k, name in enumerate("ab"):
        fourcc = cv2.VideoWriter.fourcc(*"mp4v")
        writer = cv2.VideoWriter(str(folder / f"{name}.mp4"), fourcc, 12.0, (96, 72))
        for image in images[2 * k : 2 * k + 4]:
            writer.write(image)
        writer.release()
    return folder


@dataclasses.dataclass
class Calls:
    """What the commands asked of the pipeline, and what it shall do."""

    options: list[Options] = dataclasses.field(default_factory=list)
    sources: list[Any] = dataclasses.field(default_factory=list)
    error: BaseException | None = None
    fail_at: int = 0


@dataclasses.dataclass
class Plan:
    words: str

    def describe(self) -> str:
        return self.words


@pytest.fixture
def pipeline(
    make_scene: Callable[..., Reconstruction],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Calls:
    """Replace the pipeline by one that saves a small scene, or raises `error` at a call.

    The current folder holds a.mp4, a.png and b.png, which nobody reads.
    """
    calls = Calls()
    here = tmp_path_factory.mktemp("inputs")
    for name in ("a.mp4", "a.png", "b.png"):
        (here / name).write_bytes(b"something")
    monkeypatch.chdir(here)

    def reconstruct(
        source: Any, *, out: Any, options: Options, progress: Any, **_: Any
    ) -> Reconstruction:
        calls.options.append(options)
        calls.sources.append(source)
        progress("frames", 1, 2)
        if calls.error is not None and len(calls.options) > calls.fail_at:
            raise calls.error
        progress("alignment", 2, 2)
        scene = make_scene(3)
        if options.align.geometry == "scale":
            scene.maps._depth[:] *= 1.5  # type: ignore[attr-defined]
        info = {
            **scene.info,
            "options": dataclasses.asdict(options),
            "plan": "3 frames, 3 pairs, 0.1 GB",
            "warnings": ["the camera hardly moves"],
            "timings": [
                {"stage": "predict pairs", "seconds": 1.25, "peak_mb": 210.0},
                {"stage": "align", "seconds": 2.5, "peak_mb": 480.0},
            ],
        }
        scene = dataclasses.replace(scene, info=info)
        save(scene, Path(out), dataclasses.replace(options.output, html=False))
        return scene

    fake = types.ModuleType("align3r.pipeline")
    fake.reconstruct = reconstruct  # type: ignore[attr-defined]
    fake.plan = lambda source, options, **_: Plan("3 frames, 3 pairs, 0.1 GB")  # type: ignore[attr-defined]
    # First of all, because this imports the module, which imports the true pipeline.
    monkeypatch.setattr("align3r.evaluate.comparing.pipeline", fake)
    monkeypatch.setitem(sys.modules, "align3r.pipeline", fake)
    monkeypatch.setattr(align3r, "pipeline", fake, raising=False)
    return calls


@pytest.fixture
def result(make_scene: Callable[..., Reconstruction], tmp_path: Path) -> Path:
    """A saved result folder."""
    return save(make_scene(4), tmp_path / "result")
