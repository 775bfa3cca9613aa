"""The folder for Blender, built: what its camera sees is what the video saw.

A stand-in for Blender, as strict as it is small, is always asked; Blender itself wherever `bpy` can
be imported, or is named by ALIGN3R_TEST_BPY, a Python program that can.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from small_world import small_world, with_maps

from align3r.export_options import ExportOptions
from align3r.io.blender import write_blender
from align3r.io.clouds import static_cloud
from align3r.reconstruction import Reconstruction

PROBE = Path(__file__).with_name("blender_probe.py")
TRUE_BLENDER = os.environ.get("ALIGN3R_TEST_BPY") or (
    sys.executable if importlib.util.find_spec("bpy") else None
)
needs_blender = pytest.mark.skipif(TRUE_BLENDER is None, reason="needs Blender as a module, bpy")


@pytest.fixture(params=["stand-in", pytest.param("Blender", marks=needs_blender)])
def blender(request: pytest.FixtureRequest) -> list[str]:
    """The program that runs scripts, and what the probe is told at the end."""
    return [sys.executable, "fake"] if request.param == "stand-in" else [str(TRUE_BLENDER)]


def build(folder: Path, blender: list[str]) -> dict[str, Any]:
    program, *told = blender
    found = folder.with_suffix(".npz")
    command = [program, str(PROBE), str(folder / "build_scene.py"), str(found), *told]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    with np.load(found) as read:
        return dict(read)


def exported(scene: Reconstruction, path: Path, **options: Any) -> Path:
    path.mkdir()
    write_blender(scene, path, ExportOptions(max_points=3000, **options))
    return path


def to_pixels(built: dict[str, Any], i: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P, 2) pixels, of which the first's centre is (0, 0), and z-depths of points in Blender."""
    cam_from_world = np.linalg.inv(built["world_from_cam"][i])
    cam = points @ cam_from_world[:3, :3].T + cam_from_world[:3, 3]
    clip = np.c_[cam, np.ones(len(cam))] @ built["clip_from_cam"][i].T
    ndc = clip[:, :2] / clip[:, 3:]
    width, height = built["size"]
    u, v = (ndc[:, 0] + 1) / 2 * width - 0.5, (1 - ndc[:, 1]) / 2 * height - 0.5
    return np.stack([u, v], axis=1), -cam[:, 2]


def test_what_moves_is_seen_at_its_own_pixels(tmp_path: Path, blender: list[str]) -> None:
    scene = small_world(5, still_frame=3)
    built = build(exported(scene, tmp_path / "blender"), blender)
    names = [str(name) for name in built["names"]]
    assert names == ["static", "000001", "000002", "000003", "000005"]
    for i in (0, 1, 2, 4):
        number = names.index(f"{i + 1:06d}")
        pixels, z = to_pixels(built, i, built[f"points_{number}"])
        columns, rows = np.rint(pixels).astype(int).T
        np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=1), atol=5e-3)
        mask = np.zeros(scene.size[::-1], bool)
        mask[rows, columns] = True
        np.testing.assert_array_equal(mask, scene.moving(i) & np.isfinite(scene.depth(i)))
        np.testing.assert_allclose(z, scene.depth(i)[rows, columns], rtol=1e-4)
        colours = built[f"colours_{number}"]
        np.testing.assert_allclose(255 * colours[:, :3], scene.image(i)[rows, columns], atol=0.6)
        assert (colours[:, 3] == 1).all()


def test_each_set_of_points_is_there_for_its_own_frame(tmp_path: Path, blender: list[str]) -> None:
    built = build(exported(small_world(5, still_frame=3), tmp_path / "blender"), blender)
    expected = np.zeros((5, 5), bool)
    expected[:, 0] = True
    for i, number in ((0, 1), (1, 2), (2, 3), (4, 4)):
        expected[i, number] = True
    np.testing.assert_array_equal(built["shown"], expected)
    np.testing.assert_array_equal(built["hidden_in_view"], ~expected)


def test_static_points_and_the_way_they_are_drawn(tmp_path: Path, blender: list[str]) -> None:
    scene = small_world(4)
    built = build(exported(scene, tmp_path / "blender"), blender)
    cloud = static_cloud(scene, max_points=3000, min_confidence=1.5)
    # z up: what is down in the world, y, is -z; what is forward, z, is y.
    x, y, z = cloud.points.T
    np.testing.assert_allclose(built["points_0"], np.stack([x, z, -y], axis=1), atol=1e-5)
    pixels, depth = to_pixels(built, 2, built["points_0"])
    inside = (pixels > 0).all(axis=1) & (pixels < np.array(scene.size) - 1).all(axis=1)
    columns, rows = np.rint(pixels[inside]).astype(int).T
    wall = ~scene.moving(2)[rows, columns] & np.isfinite(scene.depth(2)[rows, columns])
    np.testing.assert_allclose(depth[inside][wall], scene.depth(2)[rows, columns][wall], rtol=0.02)
    assert list(built["modifiers_0"]) == ["points"]


def test_video_camera_and_background(tmp_path: Path, blender: list[str]) -> None:
    scene = small_world(5)
    folder = exported(scene, tmp_path / "blender")
    built = build(folder, blender)
    assert tuple(built["size"]) == scene.size
    assert built["fps"] == pytest.approx(4 / (scene.times[-1] - scene.times[0]), rel=1e-5)
    assert tuple(built["range"]) == (1, 5)
    source, path, user, on = built["background"]
    assert (source, user, on) == ("SEQUENCE", "(1, 0, 5)", "True")
    assert Path(path) == folder / "images" / "000001.jpg"
    assert sorted(file.name for file in (folder / "images").iterdir()) == [
        f"00000{i}.jpg" for i in range(1, 6)
    ]
    first = cv2.imread(str(folder / "images" / "000001.jpg"))[..., ::-1]
    assert np.abs(first.astype(int) - scene.image(0)).mean() < 8


def test_a_lens_that_zooms_and_shifts(tmp_path: Path, blender: list[str]) -> None:
    scene = small_world(3)
    k = scene.intrinsics.copy()
    k[:, 0, 0] *= [1, 1.1, 1.3]
    k[:, 1, 1] *= [1, 1.1, 1.3]
    k[:, 0, 2] += [0, 3, -9]
    k[:, 1, 2] += [0, -5, 4]
    # The same pixels see other places through another lens.
    other = dataclasses.replace(scene, intrinsics=k)
    built = build(exported(other, tmp_path / "blender"), blender)
    for i in range(3):
        number = [str(name) for name in built["names"]].index(f"{i + 1:06d}")
        pixels, z = to_pixels(built, i, built[f"points_{number}"])
        columns, rows = np.rint(pixels).astype(int).T
        np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=1), atol=5e-3)
        assert scene.moving(i)[rows, columns].all()
        np.testing.assert_allclose(z, scene.depth(i)[rows, columns], rtol=1e-4)


def test_one_frame_and_nothing_known(tmp_path: Path, blender: list[str]) -> None:
    scene = small_world(1)
    unknown = np.full((1, *scene.size[::-1]), np.nan, np.float32)
    built = build(exported(with_maps(scene, depth=unknown), tmp_path / "blender"), blender)
    assert [str(name) for name in built["names"]] == ["static"]
    assert tuple(built["range"]) == (1, 1) and built["fps"] == 24
    assert built["points_0"].shape == (0, 3)


def test_an_old_blender_is_told_what_is_needed(tmp_path: Path) -> None:
    folder = exported(small_world(1), tmp_path / "blender")
    program = (
        f"import sys, runpy; sys.path.insert(0, {str(PROBE.parent)!r}); import fake_bpy\n"
        "fake_bpy.install((3, 6, 2))\n"
        f"runpy.run_path({str(folder / 'build_scene.py')!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "this is Blender 3.6; build_scene.py needs 4.2 or newer" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_folder_stands_alone(tmp_path: Path) -> None:
    """It may be moved, and its script needs nothing but Blender's own Python."""
    folder = exported(small_world(2), tmp_path / "blender")
    text = (folder / "build_scene.py").read_text()
    modules = set(re.findall(r"^(?:import|from) (\w+)", text, flags=re.MULTILINE))
    assert modules == {
        "__future__",
        "bpy",
        "json",
        "mathutils",
        "numpy",
        "pathlib",
        "sys",
        "typing",
    }
    assert str(tmp_path) not in (folder / "scene.json").read_text()
    json.loads((folder / "scene.json").read_text())
    moved = folder.rename(tmp_path / "elsewhere")
    assert len(build(moved, [sys.executable, "fake"])["names"]) == 3
