"""The result folder: complete, read back the same, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh

import align3r
from align3r.config import Options
from align3r.errors import InputError, UsageError
from align3r.io import result
from align3r.io.result import check_output, load, save_result, whole_or_nothing
from align3r.reconstruction import Reconstruction

MakeScene = Callable[..., Reconstruction]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def save(scene: Reconstruction, out: Path, **options: Any) -> Path:
    return save_result(scene, out, **{"max_points": 1000, "min_confidence": 1.5, **options})


@pytest.mark.parametrize("n", [1, 2, 3])
def test_frames_in_are_frames_out(make_scene: MakeScene, tmp_path: Path, n: int) -> None:
    out = save(make_scene(n), tmp_path / "out")
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    numbers = [f"{i:06d}" for i in range(n)]
    assert files == sorted(
        ["scene.json", "cameras.npz", "points.ply"]
        + [f"depth/{i}.exr" for i in numbers]
        + [f"moving/{i}.png" for i in numbers]
        + [f"images/{i}.jpg" for i in numbers]
    )
    assert names_in(tmp_path) == ["out"], "no scratch folder is left"


def test_what_is_saved_is_what_is_loaded(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(3)
    read = load(save(scene, tmp_path / "out"))
    for name in ("world_from_cam", "intrinsics", "times", "frame_index"):
        np.testing.assert_array_equal(getattr(read, name), getattr(scene, name))
        assert getattr(read, name).dtype == getattr(scene, name).dtype
    assert (read.size, read.scale, read.info) == (scene.size, scene.scale, scene.info)
    for i in (2, 0, 1):
        np.testing.assert_array_equal(read.depth(i), scene.depth(i))
        np.testing.assert_allclose(read.confidence(i), scene.confidence(i), rtol=1e-3)
        np.testing.assert_array_equal(read.moving(i), scene.moving(i))
        assert read.image(i).shape == scene.image(i).shape
    again = load(save(read, tmp_path / "again"))
    np.testing.assert_array_equal(again.confidence(1), read.confidence(1))
    assert again.info == read.info


def test_images_are_not_encoded_again(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(2)
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    scene.maps._images = np.stack([noise, noise[::-1]])  # type: ignore[attr-defined]
    first = save(scene, tmp_path / "first")
    second = save(load(first), tmp_path / "second")
    for k in range(2):
        name = f"images/{k:06d}.jpg"
        assert (first / name).read_bytes() == (second / name).read_bytes()
    again = load(first)
    (first / "images" / "000001.jpg").write_bytes(b"none")
    with pytest.raises(InputError, match="is not an image"):
        save(again, tmp_path / "third")
    assert names_in(tmp_path) == ["first", "second"]


def test_contents_of_the_files(make_scene: MakeScene, tmp_path: Path) -> None:
    out = save(make_scene(3), tmp_path / "out")
    about = json.loads((out / "scene.json").read_text())
    assert about["format"] == "align3r"
    assert about["version"] == 1
    assert about["n_frames"] == 3
    assert about["size"] == [80, 60]
    assert about["fps"] == pytest.approx(10)
    assert about["scale"] == "relative"
    with np.load(out / "cameras.npz", allow_pickle=False) as cameras:
        assert {name: cameras[name].dtype for name in cameras.files} == {
            "world_from_cam": np.float64,
            "K": np.float64,
            "time": np.float64,
            "frame": np.int64,
        }
    assert len(trimesh.load(out / "points.ply").vertices) == 1000


def test_scene_json_is_strict_json(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(1)
    scene.info.update(
        options=Options(),
        loss=float("nan"),
        focal=np.float32(2.5),
        table=np.eye(2),
        path=Path("a") / "b",
        n_frames="must not win",
        pair=(1, 2),
    )
    out = save(scene, tmp_path / "out")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    about = json.loads((out / "scene.json").read_text(), parse_constant=refuse)
    assert about["options"]["input"]["size"] == 512
    assert about["loss"] is None
    assert about["focal"] == 2.5
    assert about["table"] == [[1, 0], [0, 1]]
    assert about["path"] == str(Path("a") / "b")
    assert about["n_frames"] == 1
    assert about["fps"] is None
    assert about["pair"] == [1, 2]


def test_lists_of_numbers_take_one_line_each(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(1)
    values = {"numbers": [1, 2.5, None], "words": ["[\n 1\n]", "two"], "empty": []}
    scene.info.update(values=values)
    text = (save(scene, tmp_path / "out") / "scene.json").read_text()
    assert '"numbers": [ 1, 2.5, null ]' in text
    assert json.loads(text)["values"] == values


def test_a_result_without_masks_can_be_read(make_scene: MakeScene, tmp_path: Path) -> None:
    out = save(make_scene(2), tmp_path / "out")
    shutil.rmtree(out / "moving")
    assert not load(out).moving(1).any()
    assert load(out).moving(1).shape == (60, 80)


def test_extras_see_the_scene_before_scene_json_and_end_up_in_the_folder(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    scene = make_scene(1)

    def extra(given: Reconstruction, folder: Path) -> None:
        assert given is scene
        assert (folder / "points.ply").is_file()
        assert not (folder / "scene.json").exists(), "scene.json comes last"
        (folder / "scene.html").write_text("<html>")

    out = save(scene, tmp_path / "out", extras=[extra])
    assert (out / "scene.html").read_text() == "<html>"


class Interrupted(BaseException):
    """Like a Ctrl-C."""


@pytest.mark.parametrize("error", [RuntimeError("bug"), Interrupted()])
@pytest.mark.parametrize("overwrite", [False, True])
def test_nothing_half_written_when_an_extra_fails(
    make_scene: MakeScene, tmp_path: Path, error: BaseException, overwrite: bool
) -> None:
    out = tmp_path / "out"
    if overwrite:
        save(make_scene(2), out)

    def extra(_: Reconstruction, folder: Path) -> None:
        assert not overwrite or load(out).size == (80, 60), "the old result is still there"
        raise error

    with pytest.raises(type(error)):
        save(make_scene(1), out, overwrite=overwrite, extras=[extra])
    assert names_in(tmp_path) == (["out"] if overwrite else [])
    if overwrite:
        assert len(load(out)) == 2


@pytest.mark.parametrize("where", ["write_exr", "write_jpg", "write_ply"])
def test_no_space_is_exit_code_3_and_leaves_nothing(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(result, where, full)
    with pytest.raises(InputError, match="no space left") as caught:
        save(make_scene(2), tmp_path / "out")
    assert caught.value.exit_code == 3
    assert caught.value.hint
    assert names_in(tmp_path) == []


def test_other_system_errors_keep_their_face(make_scene: MakeScene, tmp_path: Path) -> None:
    def extra(_: Reconstruction, folder: Path) -> None:
        (folder / "missing.txt").read_text()

    with pytest.raises(FileNotFoundError):
        save(make_scene(1), tmp_path / "out", extras=[extra])
    assert names_in(tmp_path) == []


def test_existing_places(make_scene: MakeScene, tmp_path: Path) -> None:
    out = save(make_scene(2), tmp_path / "out")
    for attempt in (lambda: check_output(out, False), lambda: save(make_scene(1), out)):
        with pytest.raises(UsageError, match="exists already") as caught:
            attempt()
        assert "--overwrite" in caught.value.hint
    check_output(out, True)
    save(make_scene(1), out, overwrite=True)
    assert len(load(out)) == 1
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / "empty", False)
    save(make_scene(1), tmp_path / "empty")
    save(make_scene(1), tmp_path / "deep" / "er" / "out")
    check_output(tmp_path / "not" / "yet" / "there", False)
    assert names_in(tmp_path) == ["deep", "empty", "out"]


def test_overwriting_never_removes_something_else(make_scene: MakeScene, tmp_path: Path) -> None:
    precious = tmp_path / "holidays"
    precious.mkdir()
    (precious / "photo.jpg").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for place, words in ((precious, "not a result"), (tmp_path / "file", "is not a folder")):
        for attempt in (check_output, lambda p, o: save(make_scene(1), p, overwrite=o)):
            with pytest.raises(UsageError, match=words) as caught:
                attempt(place, True)
            assert caught.value.exit_code == 2
    assert (precious / "photo.jpg").read_text() == "precious"


def test_a_place_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        check_output(tmp_path / "file" / "out", False)


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_place_that_cannot_be_written(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(path: Any, *_: Any, **__: Any) -> None:
        raise OSError(code, os.strerror(code), str(path))

    monkeypatch.setattr(os, "mkdir", refuse)
    for attempt in (
        lambda: check_output(tmp_path / "out", False),
        lambda: save(make_scene(1), tmp_path / "out"),
    ):
        with pytest.raises(InputError) as caught:
            attempt()
        assert caught.value.exit_code == 3
        assert str(tmp_path / "out") in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="permission denied"):
        check_output(tmp_path / "out", False)
    tmp_path.chmod(0o700)


def test_the_old_result_comes_back_if_the_swap_fails(
    make_scene: MakeScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = save(make_scene(2), tmp_path / "out")
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError(errno.EIO, "the disk fell out")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="fell out"):
        save(make_scene(1), out, overwrite=True)
    assert len(load(out)) == 2
    assert names_in(tmp_path) == ["out"]


def test_what_a_killed_run_left_is_cleaned_up(make_scene: MakeScene, tmp_path: Path) -> None:
    out = save(make_scene(2), tmp_path / "out")
    out.rename(tmp_path / ".out.old")  # killed between the two renames
    (tmp_path / ".out.part").mkdir()
    (tmp_path / ".out.part" / "half").write_text("half")
    with pytest.raises(UsageError, match="exists already"):
        save(make_scene(1), out)
    assert len(load(out)) == 2
    save(make_scene(1), out, overwrite=True)
    assert names_in(tmp_path) == ["out"]


def test_whole_or_nothing_for_any_folder(tmp_path: Path) -> None:
    with whole_or_nothing(tmp_path / "export") as folder:
        (folder / "a").write_text("a")
        assert not (tmp_path / "export").exists()
    assert (tmp_path / "export" / "a").read_text() == "a"


def damage(out: Path, kind: str) -> None:
    about = json.loads((out / "scene.json").read_text())

    def rewrite(**changes: Any) -> None:
        (out / "scene.json").write_text(json.dumps({**about, **changes}))

    with np.load(out / "cameras.npz") as stored:
        cameras = dict(stored)
    actions: dict[str, Callable[[], Any]] = {
        "no json": (out / "scene.json").unlink,
        "half json": lambda: (out / "scene.json").write_text('{"format": "al'),
        "binary json": lambda: (out / "scene.json").write_bytes(b"\xff\xfe"),
        "list json": lambda: (out / "scene.json").write_text("[]"),
        "foreign json": lambda: rewrite(format="vipe"),
        "newer": lambda: rewrite(version=2),
        "bad size": lambda: rewrite(size=[80]),
        "bad count": lambda: rewrite(n_frames=0),
        "bad scale": lambda: rewrite(scale="furlongs"),
        "wrong count": lambda: rewrite(n_frames=3),
        "no fps": lambda: (out / "scene.json").write_text(
            json.dumps({key: value for key, value in about.items() if key != "fps"})
        ),
        "no cameras": (out / "cameras.npz").unlink,
        "half cameras": lambda: (out / "cameras.npz").write_bytes(b"PK\3\4 half"),
        "empty cameras": lambda: (out / "cameras.npz").write_bytes(b""),
        "no K": lambda: np.savez(out / "cameras.npz", **{**cameras, "K": np.array([{}])}),
        "lost K": lambda: np.savez(
            out / "cameras.npz", **{key: value for key, value in cameras.items() if key != "K"}
        ),
        "no depth": (out / "depth" / "000001.exr").unlink,
        "no image": (out / "images" / "000000.jpg").unlink,
        "no mask": (out / "moving" / "000001.png").unlink,
    }
    actions[kind]()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no json", "scene.json is missing"),
        ("half json", "cannot be read as JSON"),
        ("binary json", "cannot be read as JSON"),
        ("list json", "not written by align3r"),
        ("foreign json", "not written by align3r"),
        ("newer", "format version 2"),
        ("bad size", "size"),
        ("bad count", "n_frames"),
        ("bad scale", "furlongs"),
        ("wrong count", "shape"),
        ("no fps", "lacks fps"),
        ("no cameras", "cameras.npz is missing"),
        ("half cameras", "cannot be read"),
        ("empty cameras", "cannot be read"),
        ("no K", "cannot be read"),
        ("lost K", "lacks an array: .*K"),
        ("no depth", "1 of 2 files are missing in .*depth, the first is 000001.exr"),
        ("no image", "images, the first is 000000.jpg"),
        ("no mask", "moving, the first is 000001.png"),
    ],
)
def test_damaged_and_foreign_folders(
    make_scene: MakeScene, tmp_path: Path, kind: str, words: str
) -> None:
    out = save(make_scene(2), tmp_path / "out")
    damage(out, kind)
    with pytest.raises(InputError, match=words) as caught:
        load(out)
    assert caught.value.exit_code == 3
    assert caught.value.hint


def test_maps_of_another_size_are_noticed(make_scene: MakeScene, tmp_path: Path) -> None:
    out = save(make_scene(1), tmp_path / "out")
    other = save(make_scene(1, size=(40, 30)), tmp_path / "other")
    shutil.copy(other / "depth" / "000000.exr", out / "depth" / "000000.exr")
    shutil.copy(other / "moving" / "000000.png", out / "moving" / "000000.png")
    read = load(out)
    for ask in (read.depth, read.confidence, read.moving):
        with pytest.raises(InputError, match="40x30 pixels, the result says 80x60"):
            ask(0)


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"scene\.json is missing"):
        load(tmp_path)


def test_loading_imports_no_torch(make_scene: MakeScene, tmp_path: Path) -> None:
    out = save(make_scene(2), tmp_path / "out")
    program = (
        "import sys, align3r\n"
        "scene = align3r.load(sys.argv[1])\n"
        "scene.depth(1), scene.moving(0), scene.image(0), scene.points()\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(out)], check=True)
    assert len(align3r.load(out)) == 2


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a /proc that takes no folders")
def test_a_place_that_takes_no_folders_is_named_as_the_user_named_it() -> None:
    with pytest.raises(InputError, match=r"^/proc/x cannot be written"):
        check_output("/proc/x", False)
