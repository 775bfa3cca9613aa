"""What is written is read back bit for bit, whatever it is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.spatial.transform import Rotation

from align3r import load
from align3r.cli.options_io import options_from_json, read_options
from align3r.config import Options, OutputOptions
from align3r.io.arrays import read_npy, read_npz
from align3r.io.jsonable import jsonable
from align3r.io.maps import ArrayMaps
from align3r.io.png import read_mask_png, write_mask_png
from align3r.io.result_info import _SECTIONS
from align3r.io.trajectories import TimedPoses, read_trajectory
from align3r.io.tum import write_tum
from align3r.reconstruction import Reconstruction

ONE_FOLDER = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = st.sampled_from([np.float16, np.float32, np.float64, np.int64, np.uint8, np.bool_, ">f4"])
SHAPES = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)
FINITE = st.floats(-1e6, 1e6)


@ONE_FOLDER
@given(array=arrays.arrays(NUMBERS, SHAPES), fortran=st.booleans())
def test_npy(tmp_path: Path, array: np.ndarray, fortran: bool) -> None:
    array = np.asfortranarray(array) if fortran else array
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", first=array, second=array)
    for read in (read_npy(tmp_path / "a.npy"), read_npz(tmp_path / "a.npz", ["second"])["second"]):
        assert read.dtype == array.dtype.newbyteorder("=") and read.shape == array.shape
        assert read.tobytes() == array.astype(read.dtype).tobytes()
        assert read.flags.writeable


@ONE_FOLDER
@given(mask=arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_mask_png(tmp_path: Path, mask: np.ndarray) -> None:
    write_mask_png(mask, tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask_png(tmp_path / "a.png"), mask)


INFO = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # depth may be as far as floats go
@ONE_FOLDER
@given(data=st.data())
def test_results(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    scene = data.draw(scenes())
    out = tmp_path_factory.mktemp("result") / "out"
    scene.save(out, options=OutputOptions(html=False, pictures=False))
    read = load(out)
    for name in ("world_from_cam", "intrinsics", "times", "frame_index"):
        assert getattr(read, name).tobytes() == getattr(scene, name).tobytes(), name
    assert read.size == scene.size and read.scale == scene.scale
    for key, value in scene.info.items():
        assert read.info[key] == value
    for i in range(len(scene)):
        assert read.depth(i).tobytes() == scene.depth(i).tobytes()
        assert (read.confidence(i) == scene.confidence(i)).all()
        assert (read.moving(i) == scene.moving(i)).all()


@st.composite
def scenes(draw: st.DrawFn) -> Reconstruction:
    n = draw(st.integers(1, 3))
    height, width = draw(st.integers(8, 20)), draw(st.integers(8, 20))
    shape = (n, height, width)
    poses = np.repeat(np.eye(4)[None], n, axis=0)
    turns = draw(arrays.arrays(float, (n, 3), elements=st.floats(-3, 3)))
    poses[:, :3, :3] = Rotation.from_rotvec(turns).as_matrix()
    poses[:, :3, 3] = draw(arrays.arrays(float, (n, 3), elements=FINITE))
    k = np.repeat(np.eye(3)[None], n, axis=0)
    k[:, [0, 1], [0, 1]] = draw(arrays.arrays(float, (n, 2), elements=st.floats(1e-3, 1e6)))
    k[:, :2, 2] = draw(arrays.arrays(float, (n, 2), elements=FINITE))
    # Confidence is kept in half precision.
    half = draw(arrays.arrays(np.float16, shape, elements=st.floats(1, 60000, width=16)))
    maps = ArrayMaps(
        depth=draw(arrays.arrays(np.float32, shape)),
        confidence=half.astype(np.float32),
        moving=draw(arrays.arrays(bool, shape)),
        images=np.zeros((*shape, 3), np.uint8),
        source_size=(width, height),
    )
    # Sections have a form of their own, and Hypothesis finds their names in the source.
    own = ("format", "version", "n_frames", "size", "fps", "scale", "lenses", *_SECTIONS)
    info = draw(st.dictionaries(st.text().filter(lambda key: key not in own), INFO, max_size=4))
    return Reconstruction(
        world_from_cam=poses,
        intrinsics=k,
        times=np.sort(draw(arrays.arrays(float, n, elements=FINITE, unique=True))),
        frame_index=draw(arrays.arrays(np.int64, n)),
        size=(width, height),
        maps=maps,
        scale=draw(st.sampled_from(["relative", "prior-metric", "known-camera"])),
        info=info,
    )


@st.composite
def options(draw: st.DrawFn, kind: Any = Options) -> Any:
    """Any options, by the types of their fields."""
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{name: draw(value(hints[name])) for name in names})


def value(kind: Any) -> st.SearchStrategy[Any]:
    if dataclasses.is_dataclass(kind):
        return options(kind)
    if kind is type(None):
        return st.none()
    plain = {
        bool: st.booleans(),
        # Of the size that no option refuses.
        int: st.integers(64),
        float: st.floats(1, allow_infinity=False),
        str: st.text(),
    }
    if kind in plain:
        return plain[kind]
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return st.sampled_from(inner)
    if get_origin(kind) is tuple:
        if inner[1:] == (...,):
            return st.lists(value(inner[0]), max_size=3).map(tuple)
        return st.tuples(*map(value, inner))
    return st.one_of(*map(value, inner))


@ONE_FOLDER
@given(chosen=options())
def test_options(tmp_path: Path, chosen: Options) -> None:
    assert options_from_json(jsonable(chosen)) == chosen
    (tmp_path / "a.json").write_text(json.dumps(jsonable(chosen)), encoding="utf-8")
    assert read_options(tmp_path / "a.json") == chosen


@ONE_FOLDER
@given(scene=scenes())
def test_trajectories_to_nine_digits(tmp_path: Path, scene: Reconstruction) -> None:
    assume(len(scene) == 1 or np.diff(scene.times).min() > 1e-6)
    write_tum(scene, tmp_path / "a.txt")
    read = read_trajectory(tmp_path / "a.txt")
    assert isinstance(read, TimedPoses)
    np.testing.assert_allclose(read.times, scene.times, rtol=0, atol=1e-9)
    np.testing.assert_allclose(read.world_from_cam, scene.world_from_cam, rtol=0, atol=5e-9)
