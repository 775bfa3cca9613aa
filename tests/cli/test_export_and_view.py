"""Exports opened by other readers; the viewer from the command line."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import trimesh

from align3r.cli.main import main
from align3r.cli.view import folder_names

Captured = pytest.CaptureFixture[str]


def test_export_writes_what_it_says(result: Path) -> None:
    assert main(["export", str(result), "--to", "tum", "ply", "glb"]) == 0
    folder = result / "export"
    names = {path.name for path in folder.iterdir()}
    assert names == {"trajectory.txt", "points.ply", "scene.glb"}
    assert np.loadtxt(folder / "trajectory.txt").shape == (4, 8)
    assert len(trimesh.load(folder / "points.ply").vertices) > 100
    assert len(trimesh.load(folder / "scene.glb").geometry) >= 2


def test_export_elsewhere_and_thinned(result: Path, tmp_path: Path) -> None:
    words = ["export", str(result), "--to", "ply", "-o", str(tmp_path / "x"), "--max-points", "50"]
    assert main(words) == 0
    assert len(trimesh.load(tmp_path / "x" / "points.ply").vertices) == 50
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["points.ply"]


def test_export_of_nothing_is_3(tmp_path: Path, capsys: Captured) -> None:
    assert main(["export", str(tmp_path / "none"), "--to", "tum"]) == 3
    assert "no such folder" in capsys.readouterr().err


def test_export_into_a_file_is_2(result: Path, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "taken").write_text("")
    assert main(["export", str(result), "--to", "tum", "-o", str(tmp_path / "taken")]) == 2
    assert "taken exists and is not a folder" in capsys.readouterr().err


def test_view_serves_until_interrupted(result: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "align3r", "view", str(result), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        # A test run in the background of a shell ignores interrupts, and hands that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        address = next(word for word in line.split() if word.startswith("http://127.0.0.1:"))
        with urllib.request.urlopen(address, timeout=20) as page:
            assert b"<html" in page.read()[:500]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        _, complaints = process.communicate()
    assert "Traceback" not in complaints


@pytest.mark.parametrize("port", ["65536", "-1"])
def test_view_on_an_impossible_port_is_2(result: Path, capsys: Captured, port: str) -> None:
    assert main(["view", str(result), f"--port={port}"]) == 2
    assert "is no port" in capsys.readouterr().err


def test_view_of_two_results_of_different_moments_is_3(
    result: Path, tmp_path: Path, capsys: Captured
) -> None:
    shutil.copytree(result, tmp_path / "later")
    cameras = dict(np.load(result / "cameras.npz"))
    np.savez(tmp_path / "later" / "cameras.npz", **{**cameras, "time": cameras["time"] + 100})
    assert main(["view", str(result), str(tmp_path / "later")]) == 3
    assert "no moment in common" in capsys.readouterr().err


def test_two_folders_of_one_name_are_told_apart() -> None:
    assert folder_names("/a/out", "/a/out2") == ("out", "out2")
    assert folder_names("/a/out", "/b/out") == ("a/out", "b/out")


def test_view_of_a_foreign_host_is_3(result: Path, capsys: Captured) -> None:
    assert main(["view", str(result), "--host", "203.0.113.7"]) == 3
    assert "cannot listen on 203.0.113.7" in capsys.readouterr().err
