"""Calibrations in every dialect say the same camera; what is none is refused with words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap
import pytest

from align3r.config import CameraOptions
from align3r.errors import Align3rError, InputError, UsageError
from align3r.io.calibration import Calibration, read_calibration, read_calibration_file
from align3r.io.frame_names import FrameId
from align3r.io.lenses import linear_part
from align3r.types import LensCamera

SIZE = (640, 480)
FX, FY, CX, CY = 500.0, 510.0, 321.0, 239.0
BENT = (-0.2, 0.05, 0.001, -0.002)
WANTED = LensCamera("OPENCV", SIZE, (FX, FY, CX + 0.5, CY + 0.5, *BENT))
K = [[FX, 0, CX], [0, FY, CY], [0, 0, 1]]
NERF = {"fl_x": FX, "fl_y": FY, "cx": CX + 0.5, "cy": CY + 0.5, "w": 640, "h": 480}
BY_NAME = dict(zip(("k1", "k2", "p1", "p2"), BENT, strict=True))


def camera_of(calibration: Calibration | None, frame: FrameId | None = None) -> LensCamera | None:
    assert calibration is not None
    frame = frame or FrameId(0, 0.0, "a.png")
    finder = calibration.matcher(is_video=frame.name is None, first_number=None)
    return finder.find(frame, SIZE)


def write_json(path: Path, values: Any) -> Path:
    path.write_text(json.dumps(values))
    return path


DIALECTS: dict[str, Any] = {
    "matrix and list": {"camera_matrix": K, "distortion_coefficients": BENT},
    "as cv2 returns it": {"K": K, "dist": [[*BENT, 0.0]]},
    "as FileStorage writes it": {
        "camera_matrix": {"rows": 3, "cols": 3, "data": np.ravel(K).tolist()},
        "dist_coeffs": {"data": list(BENT)},
        "image_width": 640,
        "image_height": 480,
    },
    "flat": {"fx": FX, "fy": FY, "cx": CX, "cy": CY, **BY_NAME, "width": 640, "height": 480},
    "colmap": {"model": "OPENCV", "width": 640, "height": 480, "params": WANTED.params},
    "flat with a model": {
        **{"model": "OPENCV", "width": 640, "height": 480, "fx": FX, "fy": FY},
        **{"cx": CX + 0.5, "cy": CY + 0.5, **BY_NAME},
    },
    "nerfstudio": {"camera_model": "OPENCV", **NERF, **BY_NAME, "frames": []},
    "twice the size": {
        **{"K": [[2 * FX, 0, 2 * CX + 0.5], [0, 2 * FY, 2 * CY + 0.5], [0, 0, 1]]},
        **{"D": BENT, "width": 1280, "height": 960},
    },
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_says_the_same(dialect: str, tmp_path: Path) -> None:
    path = write_json(tmp_path / "cam.json", DIALECTS[dialect])
    found = camera_of(read_calibration(CameraOptions(calibration=str(path))))
    assert found is not None and found.size == SIZE
    params = [*found.params, 0, 0, 0, 0][: 8 if found.model == "OPENCV" else 12]
    np.testing.assert_allclose(params[:8], WANTED.params)
    assert not any(params[8:])


def test_numbers_on_the_command_line_say_the_same() -> None:
    options = CameraOptions(intrinsics=(FX, FY, CX, CY), distortion=BENT)
    assert camera_of(read_calibration(options)) == WANTED


def test_fisheye_numbers_and_fisheye_files(tmp_path: Path) -> None:
    bent = (0.1, -0.02, 0.003, 0.0)
    options = CameraOptions(focal=300.0, distortion=bent[:3], lens="fisheye")
    found = camera_of(read_calibration(options))
    assert found == LensCamera("OPENCV_FISHEYE", SIZE, (300, 300, 320, 240, *bent))
    values = {"K": K, "D": bent, "distortion_model": "equidistant"}
    assert camera_of(read_calibration_file(write_json(tmp_path / "a.json", values))) == LensCamera(
        "OPENCV_FISHEYE", SIZE, (FX, FY, CX + 0.5, CY + 0.5, *bent)
    )


def test_a_focal_length_alone_is_in_the_centre() -> None:
    found = camera_of(read_calibration(CameraOptions(focal=300.0)))
    assert found == LensCamera("PINHOLE", SIZE, (300, 300, 320, 240))
    np.testing.assert_allclose(linear_part(found)[:2, 2], [319.5, 239.5])


@pytest.mark.parametrize("ending", [".bin", ".txt"])
@pytest.mark.parametrize("what", ["file", "folder", "workspace"])
def test_colmap_cameras(ending: str, what: str, tmp_path: Path) -> None:
    model = pycolmap.Reconstruction()
    words: dict[str, Any] = {"model": "OPENCV", "width": 640, "height": 480}
    model.add_camera_with_trivial_rig(
        pycolmap.Camera(camera_id=7, **words, params=list(WANTED.params))
    )
    folder = tmp_path / "sparse" / "0"
    folder.mkdir(parents=True)
    (model.write_binary if ending == ".bin" else model.write_text)(str(folder))
    place = {"file": folder / f"cameras{ending}", "folder": folder, "workspace": tmp_path}[what]
    assert camera_of(read_calibration(CameraOptions(calibration=str(place)))) == WANTED


def test_every_frame_has_the_camera_of_its_name(tmp_path: Path) -> None:
    frames = [{"file_path": f"images/{k}.png", **NERF, "fl_x": 400.0 + k} for k in range(3)]
    path = write_json(tmp_path / "transforms.json", {"frames": frames})
    calibration = read_calibration_file(path)
    found = camera_of(calibration, FrameId(0, 0.0, "/somewhere/images/2.png"))
    assert found is not None and found.params[0] == 402
    assert camera_of(calibration, FrameId(0, 0.0, "/somewhere/images/7.png")) is None
    found = camera_of(calibration, FrameId(1, 0.1))
    assert found is not None and found.params[0] == 401


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "Expecting value"),
        ("[1, 2]", "holds no names"),
        ("{}", "'fx' is missing"),
        ('{"K": [[1, 2], [3, 4]]}', "4 numbers, not 9"),
        ('{"K": [500, 0, 320, 0, 500, 240, 0, 0, 2]}', "not fx 0 cx"),
        ('{"K": "large"}', "is no calibration"),
        ('{"K": {"rows": 3}}', "'data' is missing"),
        ('{"fx": NaN, "cx": 1, "cy": 1}', "not finite"),
        ('{"fx": -5, "cx": 1, "cy": 1}', "focal length of -5"),
        ('{"fx": 500, "cx": 1, "cy": 1, "k1": "x"}', "could not convert"),
        ('{"K": [500, 0, 320, 0, 500, 240, 0, 0, 1], "D": [1, 2, 3]}', "3 coefficients"),
        ('{"model": "PINHOLE", "params": [1, 2]}', "2 parameters"),
        ('{"model": "BOX", "params": [1, 2]}', "the model 'BOX'"),
        ('{"fl_x": 500}', "'cx' is missing"),
        ('{"fl_x": 500, "cx": 1, "cy": 1, "k4": 0.1}', "k4 is 0.1"),
        ('{"frames": [{"file_path": "a"}]}', "'fl_x' is missing"),
        ('{"frames": [{"file_path": 3, "fl_x": 1}]}', "a file_path is 3"),
        ('{"frames": 7}', "is no calibration"),
        ('{"fx": 500, "cx": 1, "cy": 1, "width": 1e400, "height": 2}', "is no calibration"),
        ('{"fx": 500, "cx": 1, "cy": 1, "width": -3, "height": 2}', "images of -3x2"),
        ("[" * 100000, "is no calibration"),
    ],
)
def test_what_is_no_calibration(content: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "cam.json").write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        read_calibration_file(tmp_path / "cam.json")
    assert caught.value.hint


def test_places_that_hold_none(tmp_path: Path) -> None:
    (tmp_path / "poses.txt").write_text("1 2 3")
    (tmp_path / "cameras.txt").write_text("1 OPENCV 640\n")
    (tmp_path / "cameras.bin").write_bytes(b"\xff" * 40)
    (tmp_path / "empty").mkdir()
    for name in ("poses.txt", "cameras.txt", "cameras.bin", "empty", "nowhere", "nowhere.json"):
        with pytest.raises(InputError) as caught:
            read_calibration_file(tmp_path / name)
        assert name.partition(".")[0] in str(caught.value) and caught.value.hint, name


def test_a_crop_is_not_the_camera(tmp_path: Path) -> None:
    values = {"fx": FX, "cx": CX, "cy": CY, "width": 640, "height": 400}
    calibration = read_calibration_file(write_json(tmp_path / "cam.json", values))
    with pytest.raises(InputError, match="640x400 pixels, the frames are 640x480"):
        camera_of(calibration)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (CameraOptions(focal=500.0, calibration="cam.json"), "given twice"),
        (CameraOptions(intrinsics=(1.0, 1.0, 1.0, 1.0), calibration="cam.json"), "given twice"),
        (CameraOptions(distortion=(0.1,)), "without the focal length"),
        (CameraOptions(distortion=(0.1,), calibration="cam.json"), "without the focal length"),
        (CameraOptions(lens="fisheye"), "lens fisheye .* there is no --distortion"),
        (CameraOptions(focal=500.0, lens="fisheye"), "there is no --distortion"),
        (CameraOptions(calibration="cam.json", lens="fisheye"), "there is no --distortion"),
        (CameraOptions(focal=500.0, distortion=(0.1, 0.1, 0.1)), "3 coefficients"),
        (CameraOptions(focal=500.0, distortion=(np.nan,)), "not finite"),
        (CameraOptions(focal=500.0, distortion=(0.1,) * 5, lens="fisheye"), "5 coefficients"),
    ],
)
def test_contradictions(options: CameraOptions, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        read_calibration(options)
    assert caught.value.hint


def test_a_damaged_model_is_an_error_and_never_worse(tmp_path: Path) -> None:
    model = pycolmap.Reconstruction()
    camera = pycolmap.Camera(camera_id=1, model="PINHOLE", width=9, height=9, params=[9, 9, 4, 4])
    model.add_camera_with_trivial_rig(camera)
    for k in range(3):
        image = pycolmap.Image(image_id=k + 1, name=f"{k}.png", camera_id=1)
        model.add_image_with_trivial_frame(image, pycolmap.Rigid3d())
    rng, tried = np.random.default_rng(0), 0
    for ending in (".bin", ".txt"):
        whole = tmp_path / f"whole{ending}"
        whole.mkdir()
        (model.write_binary if ending == ".bin" else model.write_text)(str(whole))
        tables = {path.name: path.read_bytes() for path in whole.iterdir()}
        folder = tmp_path / f"damaged{ending}"
        folder.mkdir()
        for _ in range(120):
            for name, data in tables.items():
                (folder / name).write_bytes(data)
            name = f"{rng.choice(['cameras', 'images', 'rigs', 'frames'])}{ending}"
            data = bytearray(tables[name])
            for place in rng.integers(0, len(data), 3):
                data[place] = rng.integers(0, 256)
            (folder / name).write_bytes(data[: rng.integers(1, len(data) + 1)])
            try:
                read_calibration_file(folder)
            except Align3rError as error:
                assert error.hint
                tried += 1
    assert tried > 40, "the damage must be felt now and then"
