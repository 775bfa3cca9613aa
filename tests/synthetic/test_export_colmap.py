"""A COLMAP model of an exact scene, read by pycolmap."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pycolmap
import pytest
from colmap_misses import reprojection_misses
from export_world import Loaded, TrueMaps, assert_views_agree, true_scene

from align3r.errors import InputError, UsageError
from align3r.export_options import ColmapOptions, ExportOptions
from align3r.io.lenses import Undistorter
from align3r.reconstruction import Reconstruction
from align3r.types import LensCamera


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Reconstruction:
    return true_scene(tmp_path_factory.mktemp("source") / "frames")


@pytest.fixture(scope="module")
def folder(scene: Reconstruction, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene.export("colmap", tmp_path_factory.mktemp("out") / "colmap", image_format="png")


@pytest.fixture(scope="module")
def model(folder: Path) -> pycolmap.Reconstruction:
    return pycolmap.Reconstruction(folder / "sparse" / "0")


def test_axes_by_projecting_into_the_exported_cameras(
    folder: Path, model: pycolmap.Reconstruction, scene: Reconstruction
) -> None:
    loaded = as_loaded(folder, model, scene)
    assert_views_agree(loaded)
    np.testing.assert_allclose(loaded.world_from_cam, scene.world_from_cam, atol=1e-9)
    np.testing.assert_allclose(loaded.k, scene.intrinsics, atol=1e-5)
    for i in range(len(scene)):
        np.testing.assert_array_equal(loaded.images[i], scene.maps.images[i])
        np.testing.assert_array_equal(loaded.ignored[i], scene.moving(i))


def as_loaded(folder: Path, model: pycolmap.Reconstruction, scene: Reconstruction) -> Loaded:
    images = sorted(model.images.values(), key=lambda image: image.name)
    k = []
    for image in images:
        matrix = image.camera.calibration_matrix()
        matrix[:2, 2] -= 0.5  # the centre of COLMAP's top-left pixel is (0.5, 0.5)
        k.append(matrix)
    poses = [np.vstack([i.cam_from_world().inverse().matrix(), [0, 0, 0, 1]]) for i in images]
    masks = [
        cv2.imread(str(folder / "masks" / f"{i.name}.png"), cv2.IMREAD_GRAYSCALE) for i in images
    ]
    return Loaded(
        images=[cv2.imread(str(folder / "images" / i.name))[..., ::-1] for i in images],
        k=np.array(k),
        world_from_cam=np.array(poses),
        depths=[scene.depth(i) for i in range(len(images))],
        ignored=[mask == 0 for mask in masks],
    )


def test_tracks_are_measured_and_meet(model: pycolmap.Reconstruction) -> None:
    off, lengths = reprojection_misses(model, least=2)
    errors = np.hypot(*off.T)
    assert len(lengths) > 150 and np.mean(lengths) > 4 and lengths.max() == 8
    assert np.median(errors) < 0.2
    assert (errors > 0.005).mean() > 0.7, "observations are measured, not projected"
    # Half a pixel between cameras and observations would be seen here.
    assert np.abs(np.median(off, axis=0)).max() < 0.03


def test_points_are_where_the_room_is(
    model: pycolmap.Reconstruction, scene: Reconstruction
) -> None:
    """Every observation of every point lies on the exact depth map, and nothing moves."""
    wrong = seen = 0
    for point in model.points3D.values():
        for element in point.track.elements:
            image = model.images[element.image_id]
            i = image.image_id - 1
            u, v = np.floor(image.points2D[element.point2D_idx].xy).astype(int)
            z = (image.cam_from_world() * point.xyz)[2]
            seen += 1
            wrong += abs(scene.depth(i)[v, u] / z - 1) > 0.05 or scene.moving(i)[v, u]
    assert seen > 5000 and wrong / seen < 0.005


def test_colours_are_those_of_the_images(folder: Path, model: pycolmap.Reconstruction) -> None:
    image = model.images[3]
    rgb = cv2.imread(str(folder / "images" / image.name))[..., ::-1]
    apart = []
    for observed in image.points2D:
        point = model.points3D[observed.point3D_id]
        if point.track.length() == 1:
            u, v = np.floor(observed.xy).astype(int)
            apart.append(np.abs(rgb[v, u].astype(int) - point.color).max())
    assert len(apart) > 100 and max(apart) == 0


def test_rigs_frames_names_and_errors(model: pycolmap.Reconstruction) -> None:
    assert (len(model.cameras), len(model.rigs), len(model.frames)) == (1, 1, 8)
    assert model.num_reg_frames() == 8
    camera = model.cameras[1]
    assert (camera.model_name, camera.width, camera.height) == ("PINHOLE", 180, 140)
    assert sorted(i.name for i in model.images.values()) == [f"{i:06d}.png" for i in range(8)]
    for frame in model.frames.values():
        assert frame.has_pose() and frame.num_data_ids() == 1
    before = {number: point.error for number, point in model.points3D.items()}
    model.update_point_3d_errors()
    for number, point in model.points3D.items():
        if point.track.length() > 1:
            assert before[number] == pytest.approx(point.error, abs=1e-6)
        else:
            assert before[number] == -1


def test_gsplat_finds_what_it_looks_for(folder: Path, model: pycolmap.Reconstruction) -> None:
    """The steps of gsplat's example loader: sorted images, points of every image, PINHOLE."""
    files = sorted(path.name for path in (folder / "images").iterdir())
    names = sorted(image.name for image in model.images.values())
    assert files == names
    number = {point: k for k, point in enumerate(model.points3D)}
    for image in model.images.values():
        indices = [number[o.point3D_id] for o in image.get_observation_points2D()]
        assert len(indices) > 100
        assert image.camera.model == pycolmap.CameraModelId.PINHOLE
    assert all(np.isfinite(point.xyz).all() for point in model.points3D.values())


def test_text_says_the_same(scene: Reconstruction, folder: Path, tmp_path: Path) -> None:
    options = ExportOptions(image_format="png", colmap=ColmapOptions(text=True))
    scene.export("colmap", tmp_path / "text", options=options)
    names = {path.name for path in (tmp_path / "text" / "sparse" / "0").iterdir()}
    assert names == {f"{t}.txt" for t in ("cameras", "images", "points3D", "rigs", "frames")}
    text = pycolmap.Reconstruction(tmp_path / "text" / "sparse" / "0")
    binary = pycolmap.Reconstruction(folder / "sparse" / "0")
    assert text.num_points3D() == binary.num_points3D()
    for number, point in list(binary.points3D.items())[:50]:
        np.testing.assert_allclose(text.points3D[number].xyz, point.xyz, rtol=1e-9)
    for i in range(1, 9):
        a, b = (m.images[i].cam_from_world().matrix() for m in (text, binary))
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_images_may_be_smaller_than_the_source(scene: Reconstruction, tmp_path: Path) -> None:
    scene.export("colmap", tmp_path / "c", images="working", colmap=ColmapOptions(points=500))
    model = pycolmap.Reconstruction(tmp_path / "c" / "sparse" / "0")
    camera = model.cameras[1]
    assert (camera.width, camera.height) == (90, 70)
    fx, fy, cx, cy = camera.params
    full = scene.intrinsics[0]
    np.testing.assert_allclose((fx, fy), full[[0, 1], [0, 1]] / 2)
    np.testing.assert_allclose((cx, cy), (full[:2, 2] + 0.5) / 2)
    off, _ = reprojection_misses(model, least=2)
    assert np.median(np.hypot(*off.T)) < 0.25
    assert np.abs(np.median(off, axis=0)).max() < 0.05


def test_without_its_source_it_warns_and_writes_what_it_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = true_scene(tmp_path / "frames", n=2)
    (tmp_path / "frames" / "0.png").unlink()
    (tmp_path / "frames" / "1.png").unlink()
    scene.export("colmap", tmp_path / "c", colmap=ColmapOptions(points=50, tracks=50))
    assert "written at 90x70, not at the 180x140 of the source" in caplog.text
    assert pycolmap.Reconstruction(tmp_path / "c" / "sparse" / "0").cameras[1].width == 90
    with pytest.raises(InputError):
        scene.export("colmap", tmp_path / "d", images="source")
    assert not (tmp_path / "d").exists()


def test_another_source_is_refused(scene: Reconstruction, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for i in range(8):
        image = np.random.default_rng(i).integers(0, 255, (140, 180, 3), np.uint8)
        cv2.imwrite(str(other / f"{i}.png"), image)
    with pytest.raises(InputError, match="another image than that of the result"):
        scene.export("colmap", tmp_path / "c", source=str(other))
    small = tmp_path / "small"
    small.mkdir()
    cv2.imwrite(str(small / "0.png"), np.zeros((70, 90, 3), np.uint8))
    with pytest.raises(InputError, match="90x70 pixels, the result is 180x140"):
        scene.export("colmap", tmp_path / "c", source=str(small))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other", "small"]


def test_nobody_knows_the_source(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not written in this result"):
        true_scene(n=1).export("colmap", tmp_path / "c", images="source")


@pytest.mark.parametrize("n", [1, 3])
def test_portrait_few_frames_and_unknown_depth(tmp_path: Path, n: int) -> None:
    scene = true_scene(tmp_path / "frames", n=n, crop=(60, 2, 140, 144))
    scene.maps.depths[n - 1] = np.nan
    scene.export("colmap", tmp_path / "c")
    model = pycolmap.Reconstruction(tmp_path / "c" / "sparse" / "0")
    assert (model.cameras[1].width, model.cameras[1].height) == (80, 142)
    assert [model.images[i + 1].num_points2D() > 100 for i in range(n)] == [True] * (n - 1) + [
        False
    ]
    # Not empty, which readers of the text form stumble over; but nothing is claimed of it.
    assert model.images[n].num_points2D() == 1 and model.images[n].num_points3D == 0
    assert (model.num_points3D() > 0) == (n > 1)


def test_tracks_and_points_can_be_left_out(scene: Reconstruction, tmp_path: Path) -> None:
    scene.export("colmap", tmp_path / "t", colmap=ColmapOptions(points=0))
    tracks = pycolmap.Reconstruction(tmp_path / "t" / "sparse" / "0")
    assert min(p.track.length() for p in tracks.points3D.values()) >= 2
    scene.export("colmap", tmp_path / "p", colmap=ColmapOptions(points=400, tracks=0))
    cloud = pycolmap.Reconstruction(tmp_path / "p" / "sparse" / "0")
    assert {p.track.length() for p in cloud.points3D.values()} == {1}
    assert 100 < cloud.num_points3D() <= 400
    with pytest.raises(UsageError, match=r"--colmap\.tracks is -1"):
        scene.export("colmap", tmp_path / "n", colmap=ColmapOptions(tracks=-1))


def test_points_below_the_confidence_are_told_of_once(
    scene: Reconstruction, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene.export("colmap", tmp_path / "c", min_confidence=1e6, colmap=ColmapOptions(points=9))
    told = [record.getMessage() for record in caplog.records if "confidence" in record.msg]
    assert len(told) == 1


def test_no_masks_where_nothing_moves(scene: Reconstruction, tmp_path: Path) -> None:
    maps = scene.maps
    assert isinstance(maps, TrueMaps)
    still = replace(scene, maps=TrueMaps(maps.depths, np.zeros_like(maps.masks), maps.images))
    still.export("colmap", tmp_path / "c", colmap=ColmapOptions(points=50, tracks=0))
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == [
        "align3r.json",
        "images",
        "sparse",
    ]


def test_every_frame_may_have_its_own_camera(scene: Reconstruction, tmp_path: Path) -> None:
    k = scene.intrinsics.copy()
    k[4:, 0, 0] *= 1.01
    options = ColmapOptions(points=50, tracks=0)
    replace(scene, intrinsics=k).export("colmap", tmp_path / "c", colmap=options)
    model = pycolmap.Reconstruction(tmp_path / "c" / "sparse" / "0")
    assert (len(model.cameras), len(model.rigs)) == (2, 2)
    for i in range(8):
        assert model.images[i + 1].camera.params[0] == pytest.approx(k[i, 0, 0], abs=1e-5)


def test_images_are_undistorted_as_they_were_for_the_result(tmp_path: Path) -> None:
    scene = true_scene(tmp_path / "frames", n=3)
    bent = LensCamera("OPENCV", scene.size, (171.0, 171.0, 84.0, 68.0, -0.2, 0.05, 0.001, 0.0))
    maps = scene.maps
    assert isinstance(maps, TrueMaps)
    flat = np.stack([Undistorter().apply(image, bent) for image in maps.images])
    assert np.abs(flat.astype(int) - maps.images).mean() > 5, "the lens does something"
    width, height = bent.size
    camera = {"model": bent.model, "width": width, "height": height, "params": bent.params}
    scene.info["lenses"] = {"cameras": [camera], "of_frame": [0, 0, 0]}
    scene = replace(scene, maps=replace(maps, images=flat))
    options = ColmapOptions(points=50, tracks=0)
    scene.export("colmap", tmp_path / "c", image_format="png", colmap=options)
    for i in range(3):
        written = cv2.imread(str(tmp_path / "c" / "images" / f"{i:06d}.png"))[..., ::-1]
        np.testing.assert_array_equal(written, flat[i])
    model = pycolmap.Reconstruction(tmp_path / "c" / "sparse" / "0")
    assert model.cameras[1].model_name == "PINHOLE"


def test_a_full_disk_is_told_and_leaves_nothing(
    scene: Reconstruction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(InputError, match="no space left"):
        scene.export("colmap", tmp_path / "c", colmap=ColmapOptions(points=500, tracks=0))
    assert list(tmp_path.iterdir()) == []
