"""Tasks of `align3r evaluate` on tiny data sets in the true formats: what is measured, of what."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from mini_sets import SETS, evaluate, measured, sequences_of
from networks import config_of, public_state, tiny, write_folder

from align3r.cli.main import main
from align3r.datasets.dataset import Dataset
from align3r.datasets.image_pair import ImagePair
from align3r.datasets.sequence import Sequence as Frames
from align3r.datasets.table import dataset
from align3r.errors import SolveError
from align3r.evaluate.protocol_table import PROTOCOLS
from align3r.evaluate.tasks import depth, pose, two_view, video, views
from align3r.io.maps import ArrayMaps
from align3r.reconstruction import Reconstruction

Captured = pytest.CaptureFixture[str]


def perfect(sequence: Frames) -> Reconstruction:
    """What a reconstruction without any error would be, in a unit and a world of its own."""
    truth, n = sequence.truth, len(sequence)
    shape = truth.size[::-1]
    depth_of = truth.depth or (lambda i: np.full(shape, np.nan, np.float32))
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.array([0.3, -0.2, 0.5]))[0]
    turn[:3, 3] = [4.0, -2.0, 1.0]
    poses = turn @ np.where(np.isfinite(truth.world_from_cam), truth.world_from_cam, np.eye(4))
    poses[:, :3, 3] *= 0.4
    k = np.where(np.isfinite(truth.intrinsics), truth.intrinsics, np.eye(3))
    return Reconstruction(
        world_from_cam=poses,
        intrinsics=k,
        times=np.arange(n, dtype=float),
        frame_index=np.arange(n),
        size=truth.size,
        maps=ArrayMaps(
            depth=0.4 * np.stack([depth_of(i) for i in range(n)]),
            confidence=np.ones((n, *shape), np.float32),
            moving=np.zeros((n, *shape), bool),
            images=np.stack([sequence.image(i) for i in range(n)]),
            source_size=truth.size,
        ),
    )


@pytest.fixture
def told_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (depth, pose, video, views):
        monkeypatch.setattr(module, "reconstruct_sequence", lambda s, _options, _report: perfect(s))


@pytest.mark.parametrize(
    ("name", "sequence", "rules"),
    [
        ("align3r/depth/sintel", "alley_2", ""),
        ("monst3r/depth/sintel", "alley_2", "median."),
        ("cut3r/depth/sintel", "alley_2", "scale."),
        ("cut3r/depth/kitti", "2011_09_26_drive_0002_sync", "scale."),
    ],
)
@pytest.mark.usefixtures("told_the_truth")
def test_perfect_depth_has_no_error(name: str, sequence: str, rules: str, tmp_path: Path) -> None:
    root = SETS / PROTOCOLS[name].dataset
    entry = measured(name, sequence, tmp_path, root)
    assert entry["state"] == "measured", entry
    # Reweighting stops after ten steps.
    assert entry["row"][f"{rules}abs_rel"] < 1e-5
    assert entry["row"][f"{rules}delta1"] == 1
    assert entry["row"]["pixels"] > 0 and f"{rules}pixels" not in set(entry["row"]) - {"pixels"}
    assert cv2.imread(str(tmp_path / entry["pictures"]["depth"])).shape[2] == 3


@pytest.mark.usefixtures("told_the_truth")
def test_a_perfect_path_has_no_error(tmp_path: Path) -> None:
    entry = measured("align3r/pose/sintel", "alley_2", tmp_path, SETS / "sintel")
    assert entry["row"]["ate_m"] < 1e-9
    assert entry["row"]["rpe_trans_m"] < 1e-9
    assert entry["row"]["rpe_rot_deg"] < 1e-5
    assert entry["row"]["scale"] == pytest.approx(1 / 0.4)
    assert entry["frames"] == tuple(f"frame_{i:04d}" for i in range(1, 5))


@pytest.mark.usefixtures("told_the_truth")
def test_perfect_views_have_no_error(tmp_path: Path) -> None:
    root = SETS / "re10k"
    (name,) = dataset("re10k").names(root)
    entry = measured("vggt/multi-view/re10k", name, tmp_path, root)
    assert entry["row"]["pairs"] == 45
    assert {k: entry["row"][k] for k in ("rra@5", "rta@5", "auc@30")} == {
        "rra@5": 1.0,
        "rta@5": 1.0,
        "auc@30": 1.0,
    }


def test_views_that_cannot_be_solved_are_lost_pairs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object) -> Reconstruction:
        raise SolveError("nothing overlaps")

    monkeypatch.setattr(views, "reconstruct_sequence", fails)
    root = SETS / "re10k"
    entry = measured("vggt/multi-view/re10k", dataset("re10k").names(root)[0], tmp_path, root)
    assert entry["state"] == "measured" and entry["row"]["auc@30"] == 0
    assert entry["about"]["not_solved"] == "nothing overlaps"


def in_ten_times_the_pixels(pair: ImagePair) -> ImagePair:
    """As large as the real ones: half a pixel of the sample's is half a degree."""
    k = pair.intrinsics * 10
    k[:, 2, 2] = 1
    return replace(pair, intrinsics=k, size=(10 * pair.size[0], 10 * pair.size[1]))


def sphere_maps(pair: ImagePair, size: tuple[int, int]) -> np.ndarray:
    """(2, h, w, 3) what both cameras see of a ball of 3 m that the first is in the middle of."""
    step = pair.size[0] / size[0]
    v, u = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([(u + 0.5) * step - 0.5, (v + 0.5) * step - 0.5, np.ones_like(u)], -1)
    maps = []
    for k, a_from_cam in zip(
        pair.intrinsics, (np.eye(4), np.linalg.inv(pair.b_from_a)), strict=True
    ):
        rays = pixels @ np.linalg.inv(k).T @ a_from_cam[:3, :3].T
        rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
        origin = a_from_cam[:3, 3]
        along = rays @ origin
        reach = -along + np.sqrt(along**2 - origin @ origin + 9.0)
        maps.append(origin + reach[..., None] * rays)
    return np.stack(maps).astype(np.float32)


def test_true_points_give_the_true_pose_of_two_views(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = SETS / "scannet1500"
    scene = dataset("scannet1500").names(root)[0]
    pairs = [in_ten_times_the_pixels(p) for p in dataset("scannet1500").read_pairs(root, scene)]

    def maps(_images: Sequence[Path], _edges: np.ndarray, *_: object) -> np.ndarray:
        return np.stack([sphere_maps(pair, (640, 480)) for pair in pairs])

    monkeypatch.setattr(two_view, "point_maps", maps)
    monkeypatch.setattr(Dataset, "read_pairs", lambda *_: pairs)
    for name, repeats in (("loftr", 1), ("roma", 5)):
        entry = measured(f"{name}/two-view/scannet1500", scene, tmp_path / name, root)
        assert len(entry["about"]["rotation_deg"]) == repeats * len(pairs)
        assert max(entry["about"]["rotation_deg"]) < 3, name
        assert max(entry["about"]["translation_deg"]) < 10, name
        assert entry["row"]["auc@20"] > 0.7, name


def test_a_scene_with_unknown_poses_is_left_out_where_the_paper_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = dataset("sintel").read(SETS / "sintel", "alley_2")
    poses = whole.truth.world_from_cam.copy()
    poses[3] = np.nan
    lost = replace(whole, truth=replace(whole.truth, world_from_cam=poses))
    monkeypatch.setattr(Dataset, "read", lambda *_: lost)
    entry = measured("monst3r/pose/scannet", "alley_2", tmp_path, SETS)
    assert entry["state"] == "left out"
    assert entry["error"].startswith("1 of 2 frames have no pose")


def test_a_sequence_that_is_too_short_is_left_out(tmp_path: Path) -> None:
    entry = measured("align3r/depth/bonn", "rgbd_bonn_balloon2", tmp_path, SETS / "bonn")
    assert entry["state"] == "left out"
    assert entry["error"].endswith("and the protocol asks for 32 or more")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    architecture = tiny()
    return write_folder(tmp_path / "tiny", public_state(architecture), config_of(architecture))


def moge_root(folder: Path) -> Path:
    shutil.copytree(SETS / "moge_eval", folder)
    return folder


def test_single_images_with_a_network(tmp_path: Path, weights: Path, capsys: Captured) -> None:
    root, out = moge_root(tmp_path / "nyu"), tmp_path / "out"
    words = ["evaluate", "mono", "--dataset", "nyuv2", "--root", str(root), "-o", str(out)]
    assert main([*words, "--model", "dust3r", "--weights", str(weights)]) == 0
    assert "scale-inv. Rel" in capsys.readouterr().out
    row = sequences_of(out)["scene_a"]
    assert 0 < float(row["depth_scale_invariant_rel"]) < 5
    assert float(row["points_scale_invariant_rel"]) > 0
    about = json.loads((out / "config.json").read_text())
    assert about["weights"] == {str(weights): str(weights)}
    assert about["options"]["network"]["precision"] == "fp32", "as the published rows"


def test_the_embedded_model_sees_no_depth_in_one_image(tmp_path: Path, capsys: Captured) -> None:
    root = moge_root(tmp_path / "nyu")
    assert evaluate("mono", "nyuv2", tmp_path / "out", root=root) == 2
    assert "sees no depth in a single image" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_two_views_with_a_network(tmp_path: Path, weights: Path) -> None:
    out = tmp_path / "out"
    words = ["evaluate", "two-view", "--dataset", "scannet1500", "-q", "-o", str(out)]
    words += ["--root", str(SETS / "scannet1500"), "--model", "dust3r", "--weights", str(weights)]
    assert main([*words, "--size", "64"]) == 0
    rows = sequences_of(out)
    assert all(0 <= float(row["auc@20"]) <= 1 for row in rows.values())
