"""What a person knows of the cameras, on the rendered example with its truth."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from lens_clips import relative_miss
from scipy.spatial.transform import Rotation

from align3r.cli.main import main
from align3r.io.result import load
from align3r.reconstruction import Reconstruction

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLIP, TRUTH = str(EXAMPLES / "clip.mp4"), np.load(EXAMPLES / "clip_truth.npz")
SMALL = ["--max-frames", "6", "--size", "192", "--model", "geometric", "--device", "cpu"]
DEGREES, LENGTH = 1.0, 0.05
Captured = pytest.CaptureFixture[str]


def rough_trajectory(path: Path) -> np.ndarray:
    """The true poses with errors; writes them as a TUM trajectory far from the origin."""
    rng = np.random.default_rng(0)
    poses = TRUTH["world_from_cam"].copy()
    turn = Rotation.from_rotvec(np.radians(DEGREES) * rng.standard_normal((len(poses), 3)))
    poses[:, :3, :3] = poses[:, :3, :3] @ turn.as_matrix()
    poses[:, :3, 3] += LENGTH * rng.standard_normal((len(poses), 3)) + [4000.0, 0.0, -900.0]
    quat_xyzw = Rotation.from_matrix(poses[:, :3, :3]).as_quat()
    np.savetxt(path, np.c_[TRUTH["time"], poses[:, :3, 3], quat_xyzw], fmt="%.9f")
    return poses


def depth_ratio(scene: Reconstruction) -> float:
    """Median of depth over true depth."""
    step = int(TRUTH["depth_stride"])
    ratios = []
    for k, frame in enumerate(scene.frame_index):
        true = TRUTH["depth"][frame].astype(float)
        ratios.append(scene.depth(k)[::step, ::step][: true.shape[0], : true.shape[1]] / true)
    return float(np.nanmedian(ratios))


def test_rough_poses_give_unit_and_frame_and_are_made_better(tmp_path: Path) -> None:
    given = rough_trajectory(tmp_path / "rough.txt")
    out = tmp_path / "out"
    words = ["reconstruct", CLIP, "-o", str(out), *SMALL, "--poses", str(tmp_path / "rough.txt")]
    assert main([*words, "--camera.pose-sigma", str(DEGREES), str(LENGTH)]) == 0
    scene, about = load(out), json.loads((out / "scene.json").read_text())
    assert scene.scale == "known-camera" and "pose" in about["losses"]
    frames = scene.frame_index
    before, after = (relative_miss(p, frames) for p in (given[frames], scene.world_from_cam))
    assert after < 0.7 * before
    apart = scene.world_from_cam[:, :3, 3] - given[frames, :3, 3]
    assert 0 < np.linalg.norm(apart, axis=1).max() < 5 * LENGTH
    assert depth_ratio(scene) == pytest.approx(1, abs=0.15)


def test_depth_maps_in_metres_give_the_unit(tmp_path: Path, capsys: Captured) -> None:
    maps, out = tmp_path / "maps", tmp_path / "out"
    maps.mkdir()
    for k, depth in enumerate(TRUTH["depth"]):
        np.save(maps / f"{k:06d}.npy", (2.5 * depth).astype(np.float32))
    words = ["reconstruct", CLIP, "-o", str(out), *SMALL, "--prior-dir", str(maps)]
    assert main([*words, "--prior.metric"]) == 0
    scene = load(out)
    assert scene.scale == "prior-metric"
    assert depth_ratio(scene) == pytest.approx(2.5, rel=0.03)
    shown = capsys.readouterr().out
    assert shown.startswith("alignment: points agree to ") and "depth/path scale " in shown
    residuals = scene.info["residuals"]
    assert len(residuals["frames"]["points"]) == 6 and residuals["whole"]["inliers"] > 0.9


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--camera.pose-sigma", "1", "0.1"], "no poses"),
        (["--poses", "{poses}", "--camera.pose-sigma", "0", "0.1"], "0 degrees and 0.1"),
        (["--poses", "{poses}", "--camera.pose-sigma", "1", "nan"], "1 degrees and nan"),
        (
            ["--prior-dir", "{maps}", "--prior.metric", "--prior.kind", "disparity"],
            "disparity cannot be metric",
        ),
    ],
)
def test_what_makes_no_sense_is_said(
    tmp_path: Path, capsys: Captured, words: list[str], complaint: str
) -> None:
    rough_trajectory(tmp_path / "rough.txt")
    (tmp_path / "maps").mkdir()
    np.save(tmp_path / "maps" / "0.npy", np.ones((9, 12), np.float32))
    places = {"poses": tmp_path / "rough.txt", "maps": tmp_path / "maps"}
    words = [word.format(**places) for word in words]
    assert main(["reconstruct", CLIP, "-o", str(tmp_path / "out"), *SMALL, *words]) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
