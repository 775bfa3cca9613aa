"""Hypersim: lenses that are shifted or tilted, gaps, exposure."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from align3r.datasets import hypersim
from align3r.errors import InputError

SAMPLES = Path(__file__).parents[1] / "golden" / "evaluation" / "datasets"


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SAMPLES / "hypersim", tmp_path / "hypersim"))


def test_a_tilted_and_shifted_lens_is_a_camera_that_is_turned(sample: Path) -> None:
    # What OpenGL makes of points in front of the lens is what our camera has to make of them.
    turn = Rotation.from_euler("xyz", [4, -3, 2], degrees=True).as_matrix()
    clip = np.array([[1.7, 0.02, 0.1, 0], [0, 2.3, -0.2, 0], [0, 0, -1, -2], [0, 0, -1, 0.0]])
    clip[:, :3] = clip[:, :3] @ turn
    path = sample / "metadata_camera_parameters.csv"
    head = path.read_text().splitlines()[0]
    numbers = ",".join(f"{x:.12g}" for x in clip.ravel())
    path.write_text(f"{head}\nai_001_001,64,48,0.0254,{numbers}\n")
    truth = hypersim.read(sample, "ai_001_001/cam_00").truth
    straight = hypersim.read(SAMPLES / "hypersim", "ai_001_001/cam_00").truth

    in_cam = np.random.default_rng(0).uniform([-1, -1, 2], [1, 1, 5], (50, 3))
    x, y, _, w = clip @ np.column_stack([in_cam * [1, -1, -1], np.ones(50)]).T
    want = np.stack([(x / w + 1) * 32 - 0.5, (1 - y / w) * 24 - 0.5], axis=1)

    world = in_cam @ straight.world_from_cam[1][:3, :3].T + straight.world_from_cam[1][:3, 3]
    seen = np.linalg.inv(truth.world_from_cam[1]) @ np.column_stack([world, np.ones(50)]).T
    pixels = truth.intrinsics[1] @ seen[:3]
    np.testing.assert_allclose((pixels[:2] / pixels[2]).T, want, atol=1e-6)

    v, u = np.mgrid[0:48, 0:64]
    rays = np.stack([u, v, np.ones_like(u)], -1) @ np.linalg.inv(truth.intrinsics[1]).T
    assert truth.depth is not None
    distance = np.linalg.norm(rays * truth.depth(1)[..., None], axis=-1)
    with h5py.File(next(sample.rglob("frame.0001.depth_meters.hdf5"))) as file:
        np.testing.assert_allclose(distance, file["dataset"][()], rtol=1e-5)


@pytest.mark.parametrize("number", [0.0, -1.7, np.nan], ids=["flat", "mirrored", "nan"])
def test_a_projection_that_is_none_is_refused(sample: Path, number: float) -> None:
    path = sample / "metadata_camera_parameters.csv"
    path.write_text(path.read_text().replace("1.734375", str(number)))
    with pytest.raises(InputError, match=r"csv cannot be read: M_proj is no projection"):
        hypersim.read(sample, "ai_001_001/cam_00")


def test_frames_without_pose_or_image_are_counted(sample: Path) -> None:
    folder = sample / "ai_001_001" / "_detail" / "cam_00"
    with h5py.File(folder / "camera_keyframe_frame_indices.hdf5", "w") as file:
        file["dataset"] = np.array([2, 1, 7])
    got = hypersim.read(sample, "ai_001_001/cam_00")
    assert got.frames == ("0001", "0002")
    assert got.remarks == ("1 images without a pose are left out", "1 poses have no image")
    whole = hypersim.read(SAMPLES / "hypersim", "ai_001_001/cam_00").truth
    np.testing.assert_array_equal(got.truth.world_from_cam[0], whole.world_from_cam[1])
    np.testing.assert_array_equal(got.truth.world_from_cam[1], whole.world_from_cam[0])


def test_numbers_of_frames_are_numbers(sample: Path) -> None:
    folder = sample / "ai_001_001" / "_detail" / "cam_00"
    with h5py.File(folder / "camera_keyframe_frame_indices.hdf5", "w") as file:
        file["dataset"] = np.array([0, np.inf, np.nan])
    with pytest.raises(InputError, match=r"frame_indices\.hdf5 cannot be read"):
        hypersim.read(sample, "ai_001_001/cam_00")


def test_images_are_exposed_for_what_was_rendered(sample: Path) -> None:
    colour = next(sample.rglob("frame.0000.color.hdf5"))
    entity = next(sample.rglob("frame.0000.render_entity_id.hdf5"))
    linear = np.full((48, 64, 3), 0.02, np.float32)
    linear[:5], linear[5, :3, 0] = 1000, [np.nan, np.inf, -1]
    seen = np.ones((48, 64), np.int32)
    seen[:5] = -1
    for path, data in ((colour, linear), (entity, seen)):
        with h5py.File(path, "w") as file:
            file["dataset"] = data
    image = hypersim.read(sample, "ai_001_001/cam_00").image(0)
    assert (image[6:] == 204).all() and (image[:5] == 255).all()  # 204 = 0.8 * 255
    np.testing.assert_array_equal(image[5, :4, 0], [0, 255, 0, 204])
    for brightness, nothing, grey in ((1e-5, 1, 0), (0.8**2.2, -1, 204)):
        for path, value in ((colour, brightness), (entity, nothing)):
            with h5py.File(path, "a") as file:
                file["dataset"][:] = value
        assert (hypersim.read(sample, "ai_001_001/cam_00").image(0) == grey).all()
