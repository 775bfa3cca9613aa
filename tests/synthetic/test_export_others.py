"""nerfstudio, ViPE, MegaSaM and 16-bit depth of an exact scene, read as the formats are defined."""

from __future__ import annotations

import dataclasses
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import OpenEXR
import pytest
import trimesh
from export_world import Loaded, TrueMaps, assert_views_agree, true_scene

from align3r.errors import UsageError
from align3r.export_options import NerfstudioOptions
from align3r.reconstruction import Reconstruction


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    scene = true_scene(tmp_path_factory.mktemp("source") / "frames")
    scene.maps.depths[2, :9, :9] = np.nan
    return scene


def like_nerfstudio(folder: Path) -> tuple[Loaded, dict[str, Any]]:
    """What nerfstudio's data parser makes of a folder, with all of its adjustments off.

    Cameras look along -z with y up, rays go through (x + 0.5, y + 0.5); depth files hold
    thousandths, 0 = unknown; black in a mask is ignored; frames are sorted by name.
    """
    meta = json.loads((folder / "transforms.json").read_text())
    assert meta["camera_model"] == "OPENCV"
    assert np.array_equal(meta["applied_transform"], np.eye(4)[:3])
    for kind in ("mask_path", "depth_file_path"):
        assert sum(kind in frame for frame in meta["frames"]) in (0, len(meta["frames"]))
    images, k, poses, depths, ignored = [], [], [], [], []
    for frame in sorted(meta["frames"], key=lambda frame: str(frame["file_path"])):
        own = {**meta, **frame}
        image = cv2.imread(str(folder / frame["file_path"]))[..., ::-1]
        assert image.shape == (own["h"], own["w"], 3)
        images.append(image)
        k.append([[own["fl_x"], 0, own["cx"] - 0.5], [0, own["fl_y"], own["cy"] - 0.5], [0, 0, 1]])
        looking = np.array(frame["transform_matrix"])
        # Its columns are right, up and back; OpenCV's are right, down and forward.
        poses.append(
            np.column_stack([looking[:, 0], -looking[:, 1], -looking[:, 2], looking[:, 3]])
        )
        depths.append(nerfstudio_depth(folder / frame["depth_file_path"]))
        mask = np.full(image.shape[:2], 255, np.uint8)
        if "mask_path" in frame:
            mask = cv2.imread(str(folder / frame["mask_path"]), cv2.IMREAD_UNCHANGED)
        assert mask.shape == image.shape[:2]
        ignored.append(mask == 0)
    return Loaded(images, np.array(k), np.array(poses), depths, ignored), meta


def nerfstudio_depth(path: Path) -> np.ndarray:
    values = np.load(path) if path.suffix == ".npy" else cv2.imread(str(path), cv2.IMREAD_ANYDEPTH)
    assert values.dtype == (np.float32 if path.suffix == ".npy" else np.uint16)
    depth = values.astype(np.float64) * 1e-3
    depth[values == 0] = np.nan
    return depth


def test_nerfstudio(scene: Reconstruction, tmp_path: Path) -> None:
    scene.export("nerfstudio", tmp_path / "n", image_format="png")
    loaded, meta = like_nerfstudio(tmp_path / "n")
    assert_views_agree(loaded)
    np.testing.assert_allclose(loaded.world_from_cam, scene.world_from_cam, atol=1e-12)
    np.testing.assert_allclose(loaded.k, scene.intrinsics, atol=1e-12)
    for i in range(len(scene)):
        np.testing.assert_array_equal(loaded.images[i], scene.maps.images[i])
        np.testing.assert_array_equal(loaded.ignored[i], scene.moving(i))
        np.testing.assert_allclose(loaded.depths[i], scene.depth(i), atol=0.00051)
    assert [frame["time"] for frame in meta["frames"]] == scene.times.tolist()
    assert meta["align3r"] == {"depth_unit_scale_factor": 0.001, "scale": "known-camera"}
    assert_cloud_is_what_cameras_see(tmp_path / "n" / meta["ply_file_path"], loaded)


def assert_cloud_is_what_cameras_see(ply: Path, loaded: Loaded) -> None:
    """The PLY is in the world of the poses: its points lie on the depth of the frames."""
    points = np.asarray(trimesh.load(ply).vertices)
    assert len(points) > 1000
    on_depth = np.zeros(len(points), bool)
    for k, pose, depth in zip(loaded.k, loaded.world_from_cam, loaded.depths, strict=True):
        in_cam = (points - pose[:3, 3]) @ pose[:3, :3]
        pixel = np.rint(in_cam @ k.T / in_cam[:, 2:])[:, :2].astype(int)
        height, width = depth.shape
        inside = (in_cam[:, 2] > 0) & (pixel >= 0).all(1) & (pixel < [width, height]).all(1)
        u, v = pixel[inside].T
        on_depth[inside] |= np.abs(depth[v, u] / in_cam[inside, 2] - 1) < 0.01
    assert on_depth.mean() > 0.99


def test_nerfstudio_with_a_camera_a_frame_and_far_depth(
    scene: Reconstruction, tmp_path: Path
) -> None:
    """What 16 bits do not hold is written as float32, of the same thousandths."""
    k = scene.intrinsics.copy()
    k[:, 0, 0] += np.arange(8)
    maps = scene.maps
    assert isinstance(maps, TrueMaps)
    far = replace(
        scene,
        intrinsics=k,
        maps=TrueMaps(maps.depths * 30, np.zeros_like(maps.masks), maps.images),
    )
    far.export("nerfstudio", tmp_path / "n", nerfstudio=NerfstudioOptions(points=20))
    loaded, meta = like_nerfstudio(tmp_path / "n")
    assert "fl_x" not in meta and not (tmp_path / "n" / "masks").exists()
    np.testing.assert_allclose(loaded.k, k, atol=1e-12)
    np.testing.assert_allclose(loaded.depths[1], far.depth(1), rtol=1e-6)
    assert meta["frames"][0]["depth_file_path"].endswith(".npy")
    assert len(trimesh.load(tmp_path / "n" / "points.ply").vertices) <= 20


def test_nerfstudio_at_the_working_size(scene: Reconstruction, tmp_path: Path) -> None:
    scene.export("nerfstudio", tmp_path / "n", images="working")
    loaded, _ = like_nerfstudio(tmp_path / "n")
    assert loaded.images[0].shape == (70, 90, 3)
    assert_views_agree(loaded, depth_error=0.015)
    np.testing.assert_allclose(loaded.k[0, :2, 2] * 2 + 0.5, scene.intrinsics[0, :2, 2])


def like_vipe(folder: Path) -> Loaded:
    """rgb, pose, intrinsics, depth and mask of the one video of a folder, as specified."""
    name = next((folder / "rgb").glob("*.mp4")).stem
    capture, images = cv2.VideoCapture(str(folder / "rgb" / f"{name}.mp4")), []
    while True:
        there, image = capture.read()
        if not there:
            break
        images.append(image[..., ::-1])
    n = len(images)
    with np.load(folder / "pose" / f"{name}.npz") as pose:
        poses, inds = pose["data"], pose["inds"]
    np.testing.assert_array_equal(inds, np.arange(n))
    with np.load(folder / "intrinsics" / f"{name}.npz") as intrinsics:
        values = intrinsics["data"]
        np.testing.assert_array_equal(intrinsics["inds"], inds)
    lines = (folder / "intrinsics" / f"{name}_camera.txt").read_text().splitlines()
    assert lines == [f"{i}: PINHOLE" for i in range(n)]
    k = np.array([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]] for fx, fy, cx, cy in values])
    with zipfile.ZipFile(folder / "depth" / f"{name}.zip") as archive:
        assert archive.namelist() == [f"{i:05d}.exr" for i in range(n)]
        archive.extractall(folder.parent / "exr")
    depths = []
    for i in range(n):
        file = OpenEXR.File(str(folder.parent / "exr" / f"{i:05d}.exr"), separate_channels=True)
        assert list(file.channels()) == ["Z"]
        depths.append(file.channels()["Z"].pixels)
    assert depths[0].dtype == np.float16
    with zipfile.ZipFile(folder / "mask" / f"{name}.zip") as archive:
        pngs = [archive.read(f"{i:05d}.png") for i in range(n)]
    masks = [cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED) for png in pngs]
    known = dict(
        line.split(": ") for line in (folder / "mask" / f"{name}.txt").read_text().splitlines()
    )
    assert {int(i) for i in known} >= {i for mask in masks for i in np.unique(mask)} - {0}
    return Loaded(images, k, poses, [d.astype(np.float32) for d in depths], [m > 0 for m in masks])


def test_vipe(scene: Reconstruction, tmp_path: Path) -> None:
    scene.export("vipe", tmp_path / "v")
    loaded = like_vipe(tmp_path / "v")
    assert_views_agree(loaded)
    np.testing.assert_allclose(loaded.world_from_cam, scene.world_from_cam, atol=1e-6)
    np.testing.assert_allclose(loaded.k, scene.intrinsics, atol=1e-4)
    assert {p.stem for p in (tmp_path / "v" / "rgb").iterdir()} == {"room"}
    for i in range(len(scene)):
        np.testing.assert_array_equal(loaded.ignored[i], scene.moving(i))
        np.testing.assert_allclose(loaded.depths[i], scene.depth(i), rtol=1e-3)
        apart = np.abs(loaded.images[i].astype(int) - scene.maps.images[i])
        assert np.median(apart) <= 4


def test_vipe_of_odd_sides_and_an_odd_name(tmp_path: Path) -> None:
    scene = true_scene(tmp_path / "frames", n=2, crop=(0, 0, 121, 77))
    scene.info["source"] = "../a b:c*.mp4"
    scene.export("vipe", tmp_path / "v")
    assert {p.name for p in (tmp_path / "v" / "rgb").iterdir()} == {"a_b_c.mp4"}
    assert like_vipe(tmp_path / "v").images[1].shape == (77, 121, 3)


def like_megasam(path: Path) -> Loaded:
    with np.load(path) as arrays:
        assert set(arrays) == {"images", "depths", "intrinsic", "cam_c2w"}
        images, depths = arrays["images"], arrays["depths"]
        k, poses = arrays["intrinsic"], arrays["cam_c2w"]
    assert images.dtype == np.uint8 and depths.dtype == np.float16 and k.shape == (3, 3)
    assert images.shape == (*depths.shape, 3) and poses.shape == (len(images), 4, 4)
    assert np.nanmin(depths) >= 0.00099 and np.nanmax(depths) <= 100
    still = [np.zeros(depths.shape[1:], bool)] * len(images)
    return Loaded(
        list(images), np.array([k] * len(images)), poses, list(depths.astype(np.float32)), still
    )


def test_megasam(scene: Reconstruction, tmp_path: Path) -> None:
    scene.export("megasam", tmp_path / "a.npz", source=scene.info["source_path"])
    loaded = like_megasam(tmp_path / "a.npz")
    masked = replace(loaded, ignored=[scene.moving(i) for i in range(8)])
    assert_views_agree(masked)
    np.testing.assert_allclose(loaded.world_from_cam, scene.world_from_cam, atol=1e-12)
    for i in range(len(scene)):
        np.testing.assert_array_equal(loaded.images[i], scene.maps.images[i])
        np.testing.assert_allclose(loaded.depths[i], scene.depth(i), rtol=1e-3)


def test_megasam_at_its_usual_size_with_one_camera_and_clipped_depth(
    scene: Reconstruction, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    k = scene.intrinsics.copy()
    k[-1, 0, 0] *= 1.05
    depths = scene.maps.depths.copy()
    depths[0, 40:60, 40:60] = 200
    depths[1] = np.nan
    odd = replace(scene, intrinsics=k, maps=replace(scene.maps, depths=depths))
    odd.export("megasam", tmp_path / "a.npz")
    assert "focal length changes by up to 5.0 %" in caplog.text
    assert "beyond 100 units" in caplog.text
    loaded = like_megasam(tmp_path / "a.npz")
    assert loaded.images[0].shape == (70, 90, 3)
    assert loaded.depths[0][25, 25] == 100 and np.isnan(loaded.depths[1]).all()
    first, second = tmp_path / "a.npz", tmp_path / "b.npz"
    odd.export("megasam", second)
    assert first.read_bytes() == second.read_bytes()


def test_depth_of_poses_that_are_in_metres(scene: Reconstruction, tmp_path: Path) -> None:
    known = dataclasses.replace(scene, info={**scene.info, "scale_to_metres": 1.0})
    known.export("depth-png", tmp_path / "d")
    assert json.loads((tmp_path / "d" / "depth.json").read_text())["unit"] == "metres"


def test_depth_png(scene: Reconstruction, tmp_path: Path) -> None:
    scene.export("depth-png", tmp_path / "d", depth_levels=5000)
    about = json.loads((tmp_path / "d" / "depth.json").read_text())
    assert (about["levels_per_unit"], about["unknown"]) == (5000, 0)
    assert about["unit"] == "known-camera"
    for i in range(len(scene)):
        levels = cv2.imread(str(tmp_path / "d" / f"{i:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert levels.dtype == np.uint16
        depth = np.where(levels == 0, np.nan, levels / 5000)
        np.testing.assert_allclose(depth, scene.depth(i), atol=0.00011)


def test_depth_png_tells_of_what_it_cannot_hold(
    scene: Reconstruction, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene.export("depth-png", tmp_path / "far", depth_levels=20000)
    assert "% of the depth is beyond 3.27675 units" in caplog.text
    levels = cv2.imread(str(tmp_path / "far" / "000000.png"), cv2.IMREAD_UNCHANGED)
    far = scene.depth(0) > 3.2768
    assert far.any() and (levels[far] == 0).all()
    scene.export("depth-png", tmp_path / "coarse", depth_levels=10)
    assert "a larger --depth-levels is more exact" in caplog.text
    for levels_per_unit in (0, -1, np.nan, np.inf):
        with pytest.raises(UsageError, match="--depth-levels"):
            scene.export("depth-png", tmp_path / "no", depth_levels=levels_per_unit)


def test_a_zip_that_is_streamed_is_what_numpy_writes(tmp_path: Path) -> None:
    from align3r.io.zips import write_npz

    rng = np.random.default_rng(0)
    big, small = rng.normal(size=(5, 4, 3)).astype(np.float32), rng.integers(0, 9, (2, 2))
    parts = (big.shape, big.dtype, iter(big))
    write_npz(tmp_path / "a.npz", {"big": parts, "small": small, "one": np.array(3.5)})
    np.savez(io.BytesIO(), big=big)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        np.testing.assert_array_equal(read["big"], big)
        np.testing.assert_array_equal(read["small"], small)
        assert read["one"] == 3.5 and read["small"].dtype == small.dtype
    for shape in ((6, 4, 3), (5, 4, 2)):
        with pytest.raises(ValueError, match="slice"):
            write_npz(tmp_path / "b.npz", {"big": (shape, big.dtype, iter(big))})
