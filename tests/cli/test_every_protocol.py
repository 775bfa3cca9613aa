"""Every protocol from end to end, on a rendered room in the true layout of each data set."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mini_sets import sequences_of
from networks import config_of, public_state, tiny, write_folder
from rendered_room import Still, depth_through, film, recognised
from rendered_sets import WRITERS

from align3r.cli.main import main
from align3r.config import Options
from align3r.datasets import table
from align3r.datasets.sequence import Sequence
from align3r.evaluate.protocol_table import ROWS
from align3r.evaluate.protocols import Protocol
from align3r.evaluate.report import REPORTS
from align3r.evaluate.tasks import (
    depth,
    mono,
    pose,
    reconstructing,
    two_view,
    video,
    views,
)
from align3r.io.maps import ArrayMaps
from align3r.progress import Report
from align3r.reconstruction import Reconstruction

Mark = pytest.MarkDecorator
Roots = Callable[[Protocol], Path]

SEQUENCES = {"monst3r/pose/tum": "*sitting_xyz", "ours/video/rendered": "living_room"}
"""Where there are more: one recording is for protocols that begin late, one for the other."""
UNKNOWN = {"ours/video/rgbd": {"flow_change_error"}}
"""Columns that need a truth which the data set does not have."""


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Roots:
    """The root of the data set of a protocol, written once."""
    folder = tmp_path_factory.mktemp("sets")

    def root(protocol: Protocol) -> Path:
        reader = protocol.reads or protocol.dataset
        if not (folder / reader).exists():
            WRITERS[reader](folder / reader)
        return folder / reader

    return root


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The words that name a network of random numbers."""
    architecture = tiny()
    folder = tmp_path_factory.mktemp("network") / "tiny"
    write_folder(folder, public_state(architecture), config_of(architecture))
    return ["--model", "dust3r", "--weights", str(folder)]


@pytest.fixture(autouse=True)
def _short_scenes_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(table.DATASETS["rendered"], settings={"size": (96, 72), "frames": 8})
    monkeypatch.setitem(table.DATASETS, "rendered", small)


@pytest.fixture(scope="module")
def solved() -> dict[str, Reconstruction]:
    return {}


@pytest.fixture
def _solved_once(monkeypatch: pytest.MonkeyPatch, solved: dict[str, Reconstruction]) -> None:
    """Protocols that differ in what they measure share what they measure it of.

    The images of several data sets are the same, but for their rate, which poses and depth do not
    depend on.
    """
    reconstruct = reconstructing.reconstruct_sequence

    def once(sequence: Sequence, options: Options, report: Report) -> Reconstruction:
        key = hashlib.sha256(repr(options).encode())
        for i in range(len(sequence)):
            key.update(sequence.image(i).tobytes())
        if key.hexdigest() not in solved:
            solved[key.hexdigest()] = reconstruct(sequence, options, report)
        return solved[key.hexdigest()]

    for module in (depth, pose, video, views):
        monkeypatch.setattr(module, "reconstruct_sequence", once)


def run(protocol: Protocol, root: Path, out: Path, *words: str) -> dict[str, Any]:
    """What evaluation.json says; the command has succeeded, and all of its files are there."""
    command = ["evaluate", protocol.task, "--dataset", protocol.dataset, "-q", "--size", "96"]
    command += ["--protocol", protocol.paper, "--root", str(root), "-o", str(out)]
    if protocol.name in SEQUENCES:
        command += ["--sequences", SEQUENCES[protocol.name]]
    assert main([*command, *words]) == 0
    assert all((out / name).stat().st_size for name in REPORTS)
    return dict(json.loads((out / "evaluation.json").read_text(encoding="utf-8")))


def check_report(protocol: Protocol, out: Path, said: dict[str, Any]) -> None:
    """Figures in every column, and pictures that can be looked at."""
    states = {entry["sequence"]: entry["state"] for entry in said["sequences"]}
    assert "measured" in states.values() and "failed" not in states.values(), states
    wanted = set(protocol.columns) - UNKNOWN.get(protocol.name, set())
    assert {name for name in wanted if not math.isfinite(said["mean"][name] or 0)} == set()
    assert wanted <= {name for name in said["mean"] if said["mean"][name] is not None}
    rows = sequences_of(out)
    assert set(rows) == {*states, "mean"}
    assert all(float(rows["mean"][name]) == said["mean"][name] for name in wanted)
    page = (out / "report.html").read_text(encoding="utf-8")
    pictures = list((out / "sequences").glob("*.png"))
    assert len(pictures) >= (protocol.task not in ("two-view", "multi-view"))
    for file in pictures:
        picture = cv2.imread(str(file))
        assert picture is not None and picture.std() > 5 and file.name in page.replace("%7E", "~")


BOUNDS = {
    "abs_rel": (0, 0.3),
    "scale.abs_rel": (0, 0.3),
    "lad2.abs_rel": (0, 0.3),
    "median.abs_rel": (0, 0.3),
    "rpe_rot_deg": (0, 3.0),
    "ate_percent": (0, 10.0),
    "focal_error_percent": (0, 40.0),
    "rra@15": (0.9, 1),
    "rta@15": (0.8, 1),
    "auc@30": (0.5, 1),
}
"""What six images of 96x72 pixels are good for."""


@pytest.mark.usefixtures("_solved_once")
@pytest.mark.parametrize("protocol", ROWS, ids=lambda row: row.name)
def test_it_measures(protocol: Protocol, roots: Roots, network: list[str], tmp_path: Path) -> None:
    model = network if protocol.task == "mono" else ["--model", "geometric"]
    said = run(protocol, roots(protocol), tmp_path / "out", *model)
    check_report(protocol, tmp_path / "out", said)
    if protocol.task == "mono":
        return
    mean = said["mean"]
    for name, (least, most) in BOUNDS.items():
        if name in protocol.columns:
            assert least <= mean[name] <= most, (name, mean[name])
    if protocol.task == "pose":
        path = np.mean([e["row"]["path_m"] for e in said["sequences"] if e["state"] == "measured"])
        assert 0 < mean["ate_m"] < 0.1 * path


def true_result(sequence: Sequence, *, scale: float) -> Reconstruction:
    """What is true about the images, in a world and a unit of its own; truth is not looked at."""
    images = [sequence.image(i) for i in range(len(sequence))]
    stills, size = [recognised(image) for image in images], images[0].shape[1::-1]
    zoom = size[0] // stills[0].image.shape[1]
    large = np.ones((zoom, zoom), np.float32)
    k = stills[0].k * [[zoom], [zoom], [1]]
    k[:2, 2] += (zoom - 1) / 2
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.array([0.3, -0.2, 0.5]))[0]
    turn[:3, 3] = [4.0, -2.0, 1.0]
    poses = turn @ np.stack([shot.world_from_cam for shot in stills])
    poses[:, :3, 3] *= scale
    return Reconstruction(
        world_from_cam=poses,
        intrinsics=np.repeat(k[None], len(images), axis=0),
        times=np.arange(len(images), dtype=float),
        frame_index=np.arange(len(images)),
        size=size,
        maps=ArrayMaps(
            depth=np.stack([np.kron(scale * s.depth, large) for s in stills]).astype(np.float32),
            confidence=np.ones((len(images), *size[::-1]), np.float32),
            moving=np.stack([np.kron(s.moving, large) > 0 for s in stills]),
            images=np.stack(images),
            source_size=size,
        ),
    )


def told_the_truth(monkeypatch: pytest.MonkeyPatch, *, scale: float = 0.4) -> None:
    for module in (depth, pose, video, views):
        answer: Callable[..., Reconstruction] = lambda s, *_: true_result(s, scale=scale)  # noqa: E731
        monkeypatch.setattr(module, "reconstruct_sequence", answer)


def of_tasks(*tasks: str) -> Mark:
    """A test for each protocol whose files are written here."""
    rows = [row for row in ROWS if row.task in tasks and row.dataset != "rendered"]
    return pytest.mark.parametrize("protocol", rows, ids=lambda row: row.name)


@of_tasks("depth", "pose", "video", "multi-view")
def test_the_truth_has_no_error(
    protocol: Protocol, roots: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Only where depth is compared as it is does the unit matter.
    told_the_truth(monkeypatch, scale=1.0 if "metric" in protocol.depth else 0.4)
    said = run(protocol, roots(protocol), tmp_path / "out", "--model", "geometric")
    check_report(protocol, tmp_path / "out", said)
    wrong = protocol.reader.get("association") == "rows"  # poses of other moments, says its note
    for name in set(protocol.columns) - UNKNOWN.get(protocol.name, set()):
        value, metric = said["mean"][name], name.rpartition(".")[2]
        if metric.startswith(("delta", "rra", "rta", "auc", "mask_iou")):
            assert value == 1, name
        elif wrong:
            assert value > 1e-5, name
        else:
            assert 0 <= value < NO_ERROR[metric], name


NO_ERROR = {
    **dict.fromkeys(("abs_rel", "abs_rel_static", "abs_rel_moving"), 1e-3),
    **{"sq_rel": 1e-3, "rmse": 0.02, "log_rmse": 2e-3},
    **{"ate_m": 1e-6, "rpe_trans_m": 1e-6, "rpe_rot_deg": 1e-5, "ate_percent": 1e-3},
    **{"focal_error_percent": 1e-6},
}
"""What the files' digits leave: 16 bits of depth, texts of nine decimals."""


@pytest.mark.parametrize("dataset", ["nyuv2", "gso"])
def test_true_points_of_one_image_have_no_error(
    dataset: str,
    roots: Roots,
    network: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One view is the photograph itself, the other a square out of the middle of it."""
    (protocol,) = (row for row in ROWS if row.task == "mono" and row.dataset == dataset)

    def maps(files: list[Path], _edges: np.ndarray, *_: object) -> np.ndarray:
        height, width = cv2.imread(str(files[0])).shape[:2]
        k = film((640, 480)).k * height / 480
        k[:, 2] = (width - 1) / 2, (height - 1) / 2, 1
        z = depth_through(10.0, k, (width, height))
        rays = np.stack([*np.meshgrid(np.arange(width), np.arange(height)), np.ones_like(z)], -1)
        points = 0.4 * z[..., None] * (rays @ np.linalg.inv(k).T)
        return np.repeat(points[None, None], 2, axis=1).astype(np.float32)

    root = roots(protocol)
    monkeypatch.setattr(mono, "point_maps", maps)
    mean = run(protocol, root, tmp_path / "out", *network)["mean"]
    most = 1e-3 if protocol.size == (640, 480) else 1e-2  # depth of the nearest pixel
    for name in protocol.columns:
        miss = mean[name] if name.endswith("_rel") else 1 - mean[name]
        assert 0 <= miss < most, name


def points_in(first: Still, shot: Still, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) what the camera of a still sees, in the camera of another."""
    k = film(size).k
    z = depth_through(shot.moment, k, size)
    grid = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    points = z[..., None] * (np.stack([*grid, np.ones_like(z)], -1) @ np.linalg.inv(k).T)
    motion = first.cam_from_world @ shot.world_from_cam
    return np.asarray(points @ motion[:3, :3].T + motion[:3, 3])


@of_tasks("two-view")
def test_true_points_of_two_images_give_their_pose(
    protocol: Protocol, roots: Roots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def maps(files: list[Path], edges: np.ndarray, *_: object) -> np.ndarray:
        shots = [recognised(cv2.imread(str(file))[..., ::-1]) for file in files]
        return np.stack(
            [[points_in(shots[a], shots[i], (320, 240)) for i in (a, b)] for a, b in edges]
        )

    root = roots(protocol)
    monkeypatch.setattr(two_view, "point_maps", maps)
    out = tmp_path / "out"
    said = run(protocol, root, out, "--model", "geometric", "--sequences", "scene0707_00")
    about = json.loads((out / "sequences" / "scene0707_00.json").read_text())["about"]
    assert len(about["rotation_deg"]) == 2 * protocol.poses.repeats
    # Matches are whole pixels of a coarse grid.
    assert max(about["rotation_deg"]) < 1 and max(about["translation_deg"]) < 3, about
    assert said["mean"]["auc@20"] > 0.8
