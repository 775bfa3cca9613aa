"""Real videos, shortened and made small; skipped where they are not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import align3r
from align3r.config import InputOptions, Options
from align3r.datasets.truth_files import read_truth
from align3r.evaluate.score import score


def there(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"{path.name} is not among the test data; set ALIGN3R_TEST_DATA")
    return path


def test_a_runner_among_people(data_root: Path) -> None:
    """A hand-held camera follows a woman through a cafe; she fills a tenth to a quarter of it."""
    video = there(data_root / "clips" / "lady-running.mp4")
    options = Options(input=InputOptions(stop=16 / 30 - 1e-3, size=320))
    scene = align3r.reconstruct(video, options=options)
    assert len(scene) == 16 and scene.size == (854, 480)
    assert np.isfinite(scene.world_from_cam).all() and np.isfinite(scene.intrinsics).all()
    np.testing.assert_allclose(np.linalg.det(scene.world_from_cam[:, :3, :3]), 1, atol=1e-6)
    on_her, elsewhere = [], []
    for i in range(16):
        assert np.isfinite(scene.depth(i)).all() and scene.depth(i).min() > 0
        moving = scene.moving(i)
        # Her back, and the tables to the right of her.
        on_her.append(moving[200:330, 400:520].mean())
        elsewhere.append(moving[250:450, 640:800].mean())
    assert np.median(on_her) > 0.8 and np.median(elsewhere) < 0.05


def test_two_moving_objects_and_a_depth_camera(data_root: Path) -> None:
    """Measured: ATE 0.6 % of 1.05 m, focal 1.9 % off, AbsRel 0.083 over all pixels, IoU 0.75."""
    folder = there(data_root / "rgbd_dynamic_composite")
    options = Options(input=InputOptions(stop=12 / 30 - 1e-6, size=320))
    scene = align3r.reconstruct(folder / "rgb", options=options)
    assert len(scene) == 12
    found = score(scene, read_truth(folder))
    assert found["ate_percent"] < 1.5 and found["rpe_rot_deg"] < 0.8
    assert found["focal_error_percent"] < 6
    assert found["abs_rel"] < 0.12 and found["delta1"] > 0.9
    assert found["mask_iou"] > 0.6
    assert found["abs_rel_moving"] < 0.3


def test_a_still_scene_without_intrinsics(data_root: Path) -> None:
    folder = there(data_root / "rgbd_static_a")
    options = Options(input=InputOptions(max_frames=12, size=320))
    scene = align3r.reconstruct(folder / "rgb", options=options)
    found = score(scene, read_truth(folder))
    assert found["ate_percent"] < 2 and found["focal_error_percent"] < 10
    assert found["abs_rel"] < 0.12 and found["delta1"] > 0.88
    assert found["moving_fraction"] < 0.02
