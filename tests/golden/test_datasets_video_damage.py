"""Samples with a damaged or a missing file: a reader says which, whatever is wrong with it."""

from __future__ import annotations

import importlib
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from align3r.errors import Align3rError, InputError
from align3r.io.images import read_rgb, shrink
from align3r.io.png import write_image

SAMPLES = Path(__file__).parent / "evaluation" / "datasets"
SMALL = {"intrinsics": (60.0, 60.0, 32.0, 24.0)}
WALKING = "rgbd_dataset_freiburg3_walking_xyz"


class Sample(NamedTuple):
    module: str
    folder: str
    name: str
    settings: Mapping[str, Any] = {}


READERS = [
    Sample("sintel", "sintel", "alley_2"),
    Sample("tum", "tum", WALKING, SMALL),
    Sample("bonn", "bonn", "rgbd_bonn_balloon2", SMALL),
    Sample("sceneflow", "sceneflow", "TEST/A/0000/right", SMALL),
    Sample("pointodyssey", "pointodyssey", "train/sample_r1"),
    Sample("vkitti2", "vkitti", "Scene01/clone/Camera_1"),
]


@pytest.fixture(params=READERS, ids=lambda sample: sample.module)
def sample(request: pytest.FixtureRequest) -> Sample:
    found: Sample = request.param
    return found


def read_all(sample: Sample, root: Path) -> None:
    """Everything that can be asked for."""
    reader = importlib.import_module(f"align3r.datasets.{sample.module}")
    reader.names(root, **sample.settings)
    sequence = reader.read(root, sample.name, **sample.settings)
    truth = sequence.truth
    assert np.isfinite(truth.world_from_cam).all()
    assert np.isfinite(truth.intrinsics).all()
    for i in range(len(sequence)):
        sequence.image(i)
        assert truth.depth(i).shape == truth.size[::-1]
        if truth.moving is not None:
            assert truth.moving(i).shape == truth.size[::-1]


def one_of_each_kind(root: Path) -> list[Path]:
    """The second file with numbers of each folder of a kind, or the only one."""
    kinds: dict[tuple[Path, str], list[Path]] = {}
    for path in sorted(root.rglob("*")):
        if path.is_file():
            kinds.setdefault((path.parent, path.suffix), []).append(path)
    return [paths[min(1, len(paths) - 1)] for paths in kinds.values()] + [
        path for path in root.rglob("*.txt")
    ]


def mutations(data: bytes, *, seed: int) -> Iterator[bytes]:
    """Empty, cut short, too long, other bytes in the header and behind it, other words."""
    rng = np.random.default_rng(seed)
    yield b""
    yield from (data[: len(data) // 2], data[:-1], data + b"7", data[::-1])
    for most in (16, 16, 64, len(data), len(data)):
        changed = bytearray(data)
        for at in rng.integers(min(most, len(data)), size=4):
            changed[at] = rng.integers(256)
        yield bytes(changed)
    for old, new in ((b"1", b"nan"), (b" 0", b" 1e999"), (b"1 ", b"x "), (b"png", b"../../a")):
        yield data.replace(old, new)


def test_only_errors_of_the_family_come_out_of_damaged_files(
    sample: Sample, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    shutil.copytree(SAMPLES / sample.folder, root)
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for seed, path in enumerate(one_of_each_kind(root)):
            whole = path.read_bytes()
            for damaged in mutations(whole, seed=seed):
                path.write_bytes(damaged)
                try:
                    read_all(sample, root)
                except Align3rError as error:
                    assert error.hint
                    refused += 1
            path.write_bytes(whole)
        read_all(sample, root)
    assert refused > 10


def remove(path: Path) -> None:
    path.unlink()


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [remove, make_folder])
def test_files_that_are_not_there(
    sample: Sample, damage: Callable[[Path], None], tmp_path: Path
) -> None:
    for path in one_of_each_kind(SAMPLES / sample.folder):
        root = tmp_path / "root"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(SAMPLES / sample.folder, root)
        damage(root / path.relative_to(SAMPLES / sample.folder))
        try:
            read_all(sample, root)
        except InputError as error:
            assert str(root) in str(error)


@pytest.mark.parametrize(
    ("sample", "pattern"),
    [
        (READERS[0], "training/clean/alley_2/frame_*.png"),
        (READERS[0], "training/depth/alley_2/frame_*.dpt"),
        (READERS[0], "training/camdata_left/alley_2/frame_*.cam"),
        (READERS[0], "training/flow/alley_2/frame_*.flo"),
        (READERS[3], "frames_finalpass/TEST/A/0000/right/*.png"),
        (READERS[3], "disparity/TEST/A/0000/right/*.pfm"),
        (READERS[4], "train/sample_r1/rgbs/rgb_*.jpg"),
        (READERS[4], "train/sample_r1/depths/depth_*.png"),
        (READERS[5], "vkitti_2.0.3_rgb/Scene01/clone/frames/rgb/Camera_1/rgb_*.jpg"),
        (READERS[5], "vkitti_2.0.3_depth/Scene01/clone/frames/depth/Camera_1/depth_*.png"),
    ],
)
def test_what_is_missing_is_named_and_counted(sample: Sample, pattern: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(SAMPLES / sample.folder, root)
    there = sorted(root.glob(pattern))
    for gone in there[-2:]:
        gone.unlink()
    with pytest.raises(InputError) as caught:
        read_all(sample, root)
    message = str(caught.value)
    assert f"2 of the {len(there)} files {pattern}" in message
    assert message.endswith(there[-2].relative_to(root).as_posix())


@pytest.mark.parametrize("folder", ["rgb", "depth"])
@pytest.mark.parametrize("sample", READERS[1:3], ids=lambda sample: sample.module)
def test_what_a_list_names_has_to_be_there(sample: Sample, folder: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(SAMPLES / sample.folder, root)
    gone = sorted((root / sample.name / folder).iterdir())[0]
    gone.unlink()
    with pytest.raises(InputError, match=f"1 of the .* is {folder}/{gone.name}"):
        read_all(sample, root)


@pytest.mark.parametrize("name", ["/etc/hostname", "../out.png", "rgb/../../out.png"])
def test_a_list_cannot_lead_out_of_its_folder(name: str, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(SAMPLES / "tum", root)
    stamps = root / WALKING / "rgb.txt"
    stamps.write_text(stamps.read_text().replace("rgb/1341846313.592514.png", name))
    shutil.copy(next((root / WALKING / "rgb").iterdir()), root / "out.png")
    with pytest.raises(InputError, match="outside"):
        read_all(READERS[1], root)


def test_depth_of_another_size_than_the_images_is_refused(sample: Sample, tmp_path: Path) -> None:
    root = tmp_path / "root"
    shutil.copytree(SAMPLES / sample.folder, root)
    for path in root.rglob("*"):
        where = path.relative_to(root).as_posix()
        if path.suffix in (".png", ".jpg") and "depth" not in where:
            write_image(shrink(read_rgb(path), (32, 24)), path)
    with pytest.raises(InputError, match="is 64x48 pixels, the images are 32x24"):
        read_all(sample, root)


def test_a_sequence_that_is_not_there(sample: Sample) -> None:
    with pytest.raises(InputError, match=r"no sequence '\.\./else'"):
        read_all(sample._replace(name="../else"), SAMPLES / sample.folder)


def test_another_folder_has_no_sequences(sample: Sample, tmp_path: Path) -> None:
    reader = importlib.import_module(f"align3r.datasets.{sample.module}")
    assert reader.names(tmp_path, **sample.settings) == []
