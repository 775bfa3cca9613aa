"""Every reader of align3r, and how it is called."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fuzz_samples as samples
import fuzz_training as training
import numpy as np
from fuzz_command import run_command
from fuzz_moge import read_moge, write_moge

from align3r.config import CameraOptions, InputOptions
from align3r.datasets.sequence import Sequence


@dataclass(frozen=True)
class Reader:
    """One way into align3r."""

    name: str
    write: Callable[[Path], None]
    """Fills a folder with whole files, whatever of them will be broken."""
    read: Callable[[Path, str], None]
    """Reads the folder, given the name of the file in it that was broken."""
    only: str = "*"
    """Pattern of the files that are broken."""
    slow: int = 1
    """It gets one file where others get so many."""
    repairs: bool = False
    """Whether reading may remove or replace files: a cache that is damaged is made anew."""


def _read_source(folder: Path, name: str) -> None:
    from align3r.io.video import read_frames, source_images

    frames = read_frames(folder / name, InputOptions(size=48, max_frames=4))
    for _ in source_images(folder / name, frames.index):
        pass


def _read_poses(folder: Path, name: str) -> None:
    from align3r.io.cameras import read_known_cameras

    read_known_cameras(CameraOptions(poses=str(folder / name)), samples.sample_frames())


def _read_calibration(folder: Path, name: str) -> None:
    from align3r.io.cameras import read_known_cameras
    from align3r.io.trajectories import read_trajectory

    if name == "transforms.json":
        read_trajectory(folder / name)
    options = CameraOptions(calibration=str(folder / name))
    read_known_cameras(options, samples.sample_frames())


def _read_colmap(folder: Path, name: str) -> None:
    from align3r.io.cameras import open_cameras

    open_cameras(CameraOptions(colmap=str((folder / name).parent)), is_video=False)


def _read_manifest(folder: Path, name: str) -> None:
    from align3r.batch.manifest import Manifest

    Manifest.read(folder)


def _read_finished(folder: Path, name: str) -> None:
    from align3r.batch.results import done
    from align3r.batch.values import Task
    from align3r.config import Options

    source = folder / "a.mp4"
    done(Task(source, folder / "out", folder / "log", Options(), replaces=None, version="1"))


def _read_masks(folder: Path, name: str) -> None:
    from align3r.io.masks import read_masks

    read_masks(folder, samples.sample_frames())


def _read_priors(folder: Path, name: str) -> None:
    from align3r.io.priors import PriorMaps

    for _ in PriorMaps((folder / name).parent, samples.sample_frames(), kind="depth"):
        pass


def _read_config(folder: Path, name: str) -> None:
    from align3r.cli.options_io import read_options

    read_options(folder / name)


def _read_result(folder: Path, name: str) -> None:
    from align3r import load
    from align3r.io.exports import export
    from align3r.view.sampling import frame_cloud

    scene = load(folder / "out")
    assert len(scene.lenses) in (0, len(scene))
    scene.points(moving=False)
    for i in range(len(scene)):
        frame_cloud(scene, i, stride=1)
    for to in ("tum", "ply", "glb"):
        path = folder.parent / f"written.{to}"
        try:
            export(scene, to, path)
        finally:
            path.unlink(missing_ok=True)
    if left := list(folder.parent.glob("*written*")):
        raise AssertionError(f"left behind {left}")


def _export_result(folder: Path, name: str) -> None:
    """Every format, to a place of its own; what fails may leave nothing there."""
    from align3r import load
    from align3r.errors import Align3rError
    from align3r.io.exports import EXPORTS, export

    place = folder.parent / "exports"
    shutil.rmtree(place, ignore_errors=True)
    scene = load(folder / "out")
    failed = None
    for to, kind in EXPORTS.items():
        try:
            export(scene, to, place / to / kind.name)
        except Align3rError as error:
            failed = error
            if (place / to).exists():
                raise AssertionError(f"{to} left {list((place / to).rglob('*'))}") from error
    shutil.rmtree(place, ignore_errors=True)
    if failed:
        raise failed


def _read_cache(folder: Path, name: str) -> None:
    from align3r.io.cache import StageCache
    from align3r.optim.journal import Journal
    from align3r.pairwise.predictor import empty_predictions
    from align3r.stage_cache import AlignCheckpoint, cached_mono, cached_predictions

    cache = StageCache(folder / "cache", samples.KEY)
    mono = cached_mono(cache, samples.see)
    pairs = cached_predictions(
        cache, lambda journal: samples.predict(empty_predictions(1, (8, 9), None))
    )
    assert mono.depth.dtype == np.float32 and pairs.points.shape == (1, 2, 8, 9, 3)
    Journal(1, 5, None, AlignCheckpoint(cache)).resume(0, {"x": (2, 4)})
    cache.files.release()


def _read_weights(folder: Path, name: str) -> None:
    from align3r.flow.hub_file import read_weights
    from align3r.models.loading import load_pair_network

    if name == "vision.pt":
        read_weights(folder / name)
    else:
        load_pair_network(folder / "hub" if name.startswith("hub") else folder / name)


def _read_adapter(folder: Path, name: str) -> None:
    from adapters import make

    from align3r.models.adapter_file import apply_adapter

    apply_adapter(make(), folder / "peft" if name.startswith("peft") else folder / name)


def _read_truth(folder: Path, name: str) -> None:
    from align3r.datasets.truth_files import read_truth

    truth = read_truth(folder / name if name.endswith(".npz") else folder / "sequence")
    for i in range(len(truth)):
        truth.depth(i)
        if truth.moving is not None:
            truth.moving(i)


def _read_dataset(folder: Path, name: str) -> None:
    from align3r.datasets.table import dataset

    root, reader = folder / name.split("/")[0], dataset(name.split("/")[0])
    for found in reader.names(root):
        if reader.kind == "pairs":
            reader.read_pairs(root, found)
        elif reader.kind == "samples":
            reader.read_sample(root, found)
        elif reader.kind == "images":
            list(reader.stream(root, found))
        else:
            _read_sequence(reader.read(root, found))


def _read_sequence(sequence: Sequence) -> None:
    truth = sequence.truth
    for i in range(len(sequence)):
        sequence.image(i)
        for layer in (truth.depth, truth.moving):
            if layer is not None:
                layer(i)
        if truth.flow is not None and i + 1 < len(sequence):
            truth.flow(i)


READERS = {
    reader.name: reader
    for reader in (
        Reader("video", samples.write_videos, _read_source),
        Reader("images", samples.write_images, _read_source),
        Reader("list of images", samples.write_list, _read_source, only="rgb.txt"),
        Reader("poses: TUM, npz", samples.write_poses, _read_poses),
        Reader("poses, lenses: JSON", samples.write_calibrations, _read_calibration),
        Reader("COLMAP: text", samples.write_colmap, _read_colmap, only="text/*"),
        Reader("COLMAP: binary", samples.write_colmap, _read_colmap, only="binary/*"),
        Reader("masks: PNG", samples.write_masks, _read_masks),
        Reader("depth maps: npy, npz", samples.write_priors, _read_priors, only="np?/*"),
        Reader("depth maps: EXR", samples.write_priors, _read_priors, only="exr/*"),
        Reader("depth maps: PNG", samples.write_priors, _read_priors, only="png/*"),
        Reader("options: JSON", samples.write_config, _read_config),
        Reader("result: scene.json", samples.write_result, _read_result, only="out/scene.json"),
        Reader("result: cameras.npz", samples.write_result, _read_result, only="out/cameras.npz"),
        Reader("result: EXR, PNG, JPEG", samples.write_result, _read_result, only="out/*/*"),
        Reader(
            "result: all exports",
            samples.write_result,
            _export_result,
            only="out/*/000001.*",
            slow=10,
        ),
        Reader("stage cache", samples.write_cache, _read_cache, repairs=True),
        Reader("batch manifest", samples.write_manifest, _read_manifest),
        Reader("batch: finished", samples.write_result, _read_finished, only="out/scene.json"),
        Reader("weights", samples.write_weights, _read_weights),
        Reader("weights: MoGe", write_moge, read_moge),
        Reader("adapters", samples.write_adapters, _read_adapter),
        Reader("training: maps kept", training.write_frames, training.read_frames, repairs=True),
        Reader(
            "training: checkpoint",
            training.write_checkpoints,
            training.read_checkpoint,
            only="step_*/*",
            repairs=True,
        ),
        Reader(
            "training: options.json",
            training.write_training_options,
            training.read_training_options,
        ),
        Reader("truth: npz, TUM folder", samples.write_truth, _read_truth),
        Reader("data sets", samples.write_datasets, _read_dataset),
        Reader("whole command", samples.write_inputs, run_command, slow=3),
    )
}


def files_of(reader: Reader, folder: Path) -> Iterator[str]:
    """Names of the files that are broken, in a fixed order."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.relative_to(folder).match(reader.only):
            yield path.relative_to(folder).as_posix()
