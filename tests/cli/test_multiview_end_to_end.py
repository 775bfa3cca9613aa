"""VGGT and CUT3R from the command line: tiny networks with random weights in the true layouts."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_multiview import TINY_VGGT

from align3r.cli.main import main
from align3r.io.result import load

CLIP = str(Path(__file__).resolve().parents[2] / "examples" / "clip.mp4")
GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "multiview"
SMALL = ["--max-frames", "4", "--size", "128", "--device", "cpu"]
SIZES = {"vggt": 14, "cut3r": 16}
Captured = pytest.CaptureFixture[str]


@pytest.fixture(params=["vggt", "cut3r"])
def model(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model whose published network is as small as the golden one."""
    monkeypatch.setattr("align3r.models.vggt.loading.VggtArchitecture", lambda: TINY_VGGT)
    return str(request.param)


@pytest.fixture
def weights(model: str, tmp_path: Path) -> str:
    """The golden network in hub layout."""
    folder = tmp_path / "weights"
    folder.mkdir()
    shutil.copy(GOLDEN / f"{model}_tiny.safetensors", folder / "model.safetensors")
    config = GOLDEN / f"{model}_tiny.config.json"
    (folder / "config.json").write_text(config.read_text() if config.exists() else "{}")
    return str(folder)


def test_from_the_video_to_the_folder(
    model: str, weights: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    words = ["reconstruct", CLIP, "-o", str(out), *SMALL, "--model", model, "--weights", weights]
    assert main([*words, "--network.precision", "bf16", "--network.batch", "3"]) == 0
    assert "--network.batch has no say" in caplog.text
    scene = load(out)
    assert len(scene) == 4
    for k in range(4):
        assert scene.depth(k).shape == scene.confidence(k).shape == scene.size[::-1]
    assert np.isfinite(scene.world_from_cam).all() and np.isfinite(scene.intrinsics).all()
    about = json.loads((out / "scene.json").read_text())
    assert about["options"]["model"] == model
    assert (out / "scene.html").stat().st_size > 0


def test_one_frame(model: str, weights: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["reconstruct", CLIP, "-o", str(out), *SMALL, "--model", model, "--weights", weights]
    assert main([*words, "--max-frames", "1"]) == 0
    assert len(load(out)) == 1


def test_weights_of_another_network(model: str, weights: str, tmp_path: Path) -> None:
    other = {"vggt": "cut3r", "cut3r": "vggt"}[model]
    words = ["reconstruct", CLIP, "-o", str(tmp_path / "out"), *SMALL, "--weights", weights]
    for wrong in (other, "dust3r"):
        assert main([*words, "--model", wrong]) == 6
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "way"),
    [("vggt", "align3r models download vggt"), ("cut3r", "cut3r_512_dpt_4_64.pth")],
)
def test_offline_without_weights_says_the_way_out(tmp_path: Path, name: str, way: str) -> None:
    """In a process of its own: the hub's library reads its variables when it is imported."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    words = ["reconstruct", CLIP, "-o", str(tmp_path / "out"), *SMALL, "--model", name]
    done = subprocess.run(
        [sys.executable, "-m", "align3r", *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 6
    assert way in done.stderr and "hint:" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
