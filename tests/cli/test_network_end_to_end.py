"""Learned models from the command line: tiny networks with random weights in the true layouts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from golden_networks import hub_folder

from align3r.cli.main import main
from align3r.config import InputOptions, ModelName, Options, PriorOptions
from align3r.given import read_given
from align3r.io.result import load
from align3r.prediction import see_depth

CLIP = str(Path(__file__).resolve().parents[2] / "examples" / "clip.mp4")
SMALL = ["--max-frames", "4", "--size", "128", "--align.steps", "5", "--device", "cpu"]
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def own_depth(tmp_path: Path) -> Path:
    """Depth maps of the user's own, one a frame."""
    folder = tmp_path / "depth"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for k in range(4):
        np.save(folder / f"{k}.npy", rng.uniform(1, 4, (24, 32)).astype(np.float32))
    return folder


def check_result(out: Path, model: str) -> None:
    scene = load(out)
    assert len(scene) == 4
    for k in range(4):
        assert scene.depth(k).shape == scene.confidence(k).shape == scene.size[::-1]
    assert np.isfinite(scene.world_from_cam).all() and np.isfinite(scene.intrinsics).all()
    assert json.loads((out / "scene.json").read_text())["options"]["model"] == model
    assert (out / "scene.html").stat().st_size > 0


@pytest.mark.parametrize(
    ("model", "weights"),
    [("dust3r", "dust3r_dpt"), ("monst3r", "dust3r_linear")],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_of_a_pair_network(
    tmp_path: Path, model: str, weights: str, precision: str
) -> None:
    out = tmp_path / "out"
    words = ["reconstruct", CLIP, "-o", str(out), *SMALL, "--model", model]
    words += ["--weights", str(hub_folder(weights, tmp_path / "weights"))]
    assert main([*words, "--network.precision", precision]) == 0
    check_result(out, model)


def test_flow_that_nobody_reads_is_not_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("nobody reads this flow")

    monkeypatch.setattr("align3r.prediction.make_flow", never)
    words = ["reconstruct", CLIP, "-o", str(tmp_path / "out"), *SMALL, "--model", "dust3r"]
    words += ["--weights", str(hub_folder("dust3r_dpt", tmp_path / "weights"))]
    assert main([*words, "--motion.no-enabled", "--align.flow-weight", "0"]) == 0
    assert main([*words, "--motion.no-enabled", "--overwrite"]) == 1


def test_align3r_on_depth_maps_of_ones_own(tmp_path: Path, own_depth: Path) -> None:
    out = tmp_path / "out"
    words = ["reconstruct", CLIP, "-o", str(out), *SMALL, "--model", "align3r-depthanything"]
    words += ["--weights", str(hub_folder("align3r_dpt", tmp_path / "weights"))]
    assert main([*words, "--prior-dir", str(own_depth), "--network.cache-gb", "0"]) == 0
    check_result(out, "align3r-depthanything")
    stages = [t["stage"] for t in json.loads((out / "scene.json").read_text())["timings"]]
    assert "monocular depth" in stages


@pytest.mark.parametrize(
    ("model", "kind", "inverted"),
    [
        ("align3r-depthanything", "depth", True),
        ("align3r-depthanything", "disparity", False),
        ("align3r-depthpro", "depth", False),
        ("align3r-depthpro", "disparity", True),
    ],
)
def test_own_maps_reach_the_network_as_it_was_trained(
    tmp_path: Path, own_depth: Path, model: ModelName, kind: str, inverted: bool
) -> None:
    options = Options(
        model=model,
        input=InputOptions(max_frames=4, size=128),
        prior=PriorOptions(dir=str(own_depth), kind=kind),  # type: ignore[arg-type]
    )
    given = read_given(CLIP, options, fit="network", report=lambda *told: None)
    mono = see_depth(given, options, lambda *told: None)
    own = cv2.resize(np.load(own_depth / "2.npy"), given.frames.size, interpolation=1)
    correlation = np.corrcoef(mono.point_maps[2, ..., 2].ravel(), own.ravel())[0, 1]
    assert correlation < -0.7 if inverted else correlation > 0.7


def test_monocular_depth_asked_for_in_vain_is_said(
    tmp_path: Path, own_depth: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["reconstruct", CLIP, "-o", str(tmp_path / "out"), *SMALL, "--model", "geometric"]
    assert main([*words, "--prior-dir", str(own_depth)]) == 0
    assert "--prior.dir has no say" in caplog.text


def test_scale_maps_on_depth_maps_of_ones_own(tmp_path: Path, own_depth: Path) -> None:
    """The embedded model needs no prior, but scale maps may stand on one."""
    out = tmp_path / "out"
    words = ["reconstruct", CLIP, "-o", str(out), *SMALL, "--model", "geometric"]
    assert main([*words, "--prior-dir", str(own_depth), "--align.geometry", "scale"]) == 0
    check_result(out, "geometric")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--weights", "{align3r}"], "not for which model"),
        (["--model", "geometric", "--weights", "{align3r}"], "geometric has no weights"),
        (["--model", "dust3r", "--weights", "{align3r}"], "holds an Align3R network"),
        (["--model", "align3r-depthpro", "--prior", "none"], "needs monocular depth"),
        (
            ["--model", "align3r-depthpro", "--prior", "depthpro", "--prior-dir", "x"],
            "give either",
        ),
        (["--flow", "raft"], "geometric computes its own flow"),
        (["--masks", "sam2", "--motion.no-enabled"], "there are none"),
    ],
)
def test_contradictions_are_usage_errors(
    tmp_path: Path, capsys: Captured, words: list[str], told: str
) -> None:
    weights = str(hub_folder("align3r_dpt", tmp_path / "weights"))
    words = [word.format(align3r=weights) for word in words]
    out = tmp_path / "out"
    assert main(["reconstruct", CLIP, "-o", str(out), *SMALL, *words]) == 2
    assert told in "".join(capsys.readouterr())
    assert not out.exists()


def test_weights_that_are_cut_short(tmp_path: Path, capsys: Captured) -> None:
    weights = hub_folder("dust3r_dpt", tmp_path / "weights") / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    words = ["reconstruct", CLIP, "-o", str(tmp_path / "out"), *SMALL, "--model", "dust3r"]
    assert main([*words, "--weights", str(weights.parent)]) == 6
    shown = capsys.readouterr().err
    assert str(weights) in shown and "hint:" in shown
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("model", ["dust3r", "monst3r", "align3r-depthanything"])
def test_offline_without_weights_says_the_way_out(tmp_path: Path, model: str) -> None:
    """In a process of its own: the hub's library reads its variables when it is imported."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")}
    words = ["reconstruct", CLIP, "-o", str(tmp_path / "out"), *SMALL, "--model", model]
    done = subprocess.run(
        [sys.executable, "-m", "align3r", *words], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 6
    assert f"align3r models download {model}" in done.stderr
    assert "--weights" in done.stderr and "Traceback" not in done.stderr
    if model == "align3r-depthanything":
        assert "depthanything-large will be needed, too" in done.stderr
    assert not (tmp_path / "out").exists()


def test_auto_takes_the_embedded_model_and_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    words = ["reconstruct", CLIP, "-o", str(tmp_path / "out"), *SMALL, "--dry-run", "-v"]
    with caplog.at_level("INFO", logger="align3r"):
        assert main(words) == 0
    assert "model: geometric" in caplog.text and "no GPU" in caplog.text


def test_a_dry_run_looks_for_the_weights(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["reconstruct", CLIP, "-o", str(tmp_path / "out"), *SMALL, "--dry-run"]
    assert main([*words, "--model", "dust3r", "--weights", str(tmp_path / "nothere.pth")]) == 6
    assert "nothere.pth" in capsys.readouterr().err
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "empty"))
    assert main([*words, "--model", "align3r-depthpro"]) == 0
    assert "downloaded first: align3r-depthpro, depthpro" in capsys.readouterr().out
    weights = str(hub_folder("dust3r_dpt", tmp_path / "weights"))
    assert main([*words, "--model", "dust3r", "--weights", weights]) == 0
    told = capsys.readouterr().out
    assert "downloaded" not in told and "network 0.0" in told
