"""The table of exports, and what an export does to the place it is written to."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3r.cli.main import main
from align3r.config import OutputOptions
from align3r.errors import InputError, UsageError
from align3r.export_options import ColmapOptions, ExportOptions
from align3r.io.exports import EXPORTS, MARK, Export, export, find_export
from align3r.reconstruction import Reconstruction

MakeScene = Callable[..., Reconstruction]


@pytest.fixture
def folder_format(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts a format "notes" into the table whose writer is the given function."""

    def put(writer: Callable[..., None], name: str = "notes") -> None:
        monkeypatch.setitem(EXPORTS, "notes", Export(name, "a text", "nowhere:nothing"))
        monkeypatch.setattr(Export, "load_writer", lambda _: writer)

    return put


def write_note(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
    (path / "note.txt").write_text(f"{len(scene)} {options.min_confidence}")


@pytest.mark.parametrize("to", sorted(EXPORTS))
def test_every_row_has_a_writer_with_the_common_signature(to: str) -> None:
    kind = EXPORTS[to]
    assert Path(kind.name).name == kind.name
    assert kind.what and not kind.what.endswith(".") and "\n" not in kind.what
    assert len(inspect.signature(kind.load_writer()).parameters) == 3


def test_names_do_not_collide() -> None:
    assert len({kind.name for kind in EXPORTS.values()}) == len(EXPORTS)


def test_unknown_names_and_options(make_scene: MakeScene, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no export 'colmab'") as caught:
        find_export("colmab")
    assert "did you mean colmap" in caught.value.hint
    with pytest.raises(UsageError) as caught:
        make_scene(1).export("?", tmp_path / "x")
    assert "colmap, nerfstudio" in caught.value.hint
    with pytest.raises(UsageError, match="unknown options"):
        make_scene(1).export("ply", tmp_path / "x.ply", confidence=3)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_says_what_it_is(
    make_scene: MakeScene, tmp_path: Path, folder_format: Callable[..., None]
) -> None:
    folder_format(write_note)
    place = tmp_path / "new" / "notes"
    assert make_scene(2).export("notes", str(place), min_confidence=4) == place
    assert (place / "note.txt").read_text() == "2 4"
    about = json.loads((place / MARK).read_text())
    assert (about["export"], about["frames"], about["scale"]) == ("notes", 2, "relative")
    assert [path.name for path in place.parent.iterdir()] == ["notes"]


def test_an_export_of_the_same_kind_is_replaced(
    make_scene: MakeScene, tmp_path: Path, folder_format: Callable[..., None]
) -> None:
    folder_format(write_note)
    make_scene(2).export("notes", tmp_path / "notes")
    (tmp_path / "notes" / "old.txt").write_text("")
    make_scene(3).export("notes", tmp_path / "notes")
    assert {p.name for p in (tmp_path / "notes").iterdir()} == {"note.txt", MARK}
    assert (tmp_path / "notes" / "note.txt").read_text().startswith("3")


@pytest.mark.parametrize("mark", [None, "no json", "[]", '{"export": "colmap"}'])
def test_other_folders_are_not_replaced(
    make_scene: MakeScene, tmp_path: Path, folder_format: Callable[..., None], mark: str | None
) -> None:
    folder_format(write_note)
    place = tmp_path / "mine"
    place.mkdir()
    (place / "thesis.txt").write_text("years of work")
    if mark is not None:
        (place / MARK).write_text(mark)
    with pytest.raises(UsageError, match="is not an export to notes"):
        make_scene(1).export("notes", place)
    assert (place / "thesis.txt").read_text() == "years of work"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    make_scene(1).export("notes", place, overwrite=True)
    assert not (place / "thesis.txt").exists()


def test_some_places_are_never_replaced(
    make_scene: MakeScene,
    tmp_path: Path,
    folder_format: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder_format(write_note)
    scene = make_scene(1)
    result = tmp_path / "result"
    result.mkdir()
    (result / "scene.json").write_text("{}")
    (tmp_path / "link").symlink_to(result)
    (tmp_path / "file").write_text("")
    inner = tmp_path / "home" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    for name, words in (
        ("result", "is a result of align3r"),
        ("link", "is not a folder"),
        ("file", "is not a folder"),
        ("home", "is where you are"),
    ):
        with pytest.raises(UsageError, match=words):
            scene.export("notes", tmp_path / name, overwrite=True)
    assert inner.is_dir() and (result / "scene.json").is_file()


def test_a_writer_that_fails_leaves_what_was_there(
    make_scene: MakeScene, tmp_path: Path, folder_format: Callable[..., None]
) -> None:
    folder_format(write_note)
    make_scene(2).export("notes", tmp_path / "notes")

    def fail(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
        write_note(scene, path, options)
        raise InputError("the source is gone")

    folder_format(fail)
    for place in ("notes", "other"):
        with pytest.raises(InputError):
            make_scene(9).export("notes", tmp_path / place)
    assert (tmp_path / "notes" / "note.txt").read_text().startswith("2")
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_file_is_replaced_when_the_new_one_is_whole(
    make_scene: MakeScene, tmp_path: Path, folder_format: Callable[..., None]
) -> None:
    def fail(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
        assert path.suffix == ".txt" and not path.exists()
        path.write_text("half")
        raise KeyboardInterrupt

    folder_format(fail, "notes.txt")
    (tmp_path / "notes.txt").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        make_scene(1).export("notes", tmp_path / "notes.txt", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "old"
    folder_format(lambda scene, path, options: path.write_text("new"), "notes.txt")
    make_scene(1).export("notes", tmp_path / "notes.txt", overwrite=True)
    assert (tmp_path / "notes.txt").read_text() == "new"
    with pytest.raises(UsageError, match="is a folder"):
        make_scene(1).export("notes", tmp_path)


def test_a_place_that_cannot_be_written(make_scene: MakeScene, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for to in ("tum", "nerfstudio"):
        with pytest.raises(UsageError, match="file exists and is not a folder"):
            make_scene(1).export(to, tmp_path / "file" / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_of_somebody_else_is_not_replaced(
    make_scene: MakeScene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine"
    make_scene(2).save(out, options=OutputOptions(html=False, pictures=False))
    mine.mkdir()
    (mine / "trajectory.txt").write_text("mine")
    words = ["export", str(out), "--to", "ply", "tum", "-o", str(mine)]
    assert main(words) == 2
    shown = capsys.readouterr().err
    assert "trajectory.txt exists and would be replaced" in shown and "--overwrite" in shown
    assert [path.name for path in mine.iterdir()] == ["trajectory.txt"]
    assert (mine / "trajectory.txt").read_text() == "mine"
    assert main([*words, "--overwrite"]) == 0
    assert np.loadtxt(mine / "trajectory.txt").shape == (2, 8)
    for _ in range(2):  # OUT/export is there for exports: no need to ask
        assert main(["export", str(out), "--to", "tum"]) == 0


@pytest.mark.parametrize("to", ["ply", "colmap"])
def test_nothing_is_exported_into_a_result(
    make_scene: MakeScene, tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    out = tmp_path / "out"
    make_scene(2).save(out, options=OutputOptions(html=False, pictures=False))
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert main(["export", str(out), "--to", to, "-o", str(out), "--overwrite"]) == 2
    assert "out is a result of align3r" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize(
    "words",
    [
        "--max-points 0",
        "--max-points=-5",
        "--max-frame-points 0",
        "--min-confidence nan",
        "--min-confidence inf",
        "--min-confidence=-1",
        "--depth-levels 0",
        "--depth-levels nan",
    ],
)
def test_numbers_without_sense_are_2(capsys: pytest.CaptureFixture[str], words: str) -> None:
    name, value = words.replace("=", " ").split()
    assert main(["export", "x", "--to", "ply", *words.split()]) == 2
    assert f"{name} is {value}" in capsys.readouterr().err
    number: Any = float(value)
    with pytest.raises(UsageError):
        ExportOptions(**{name[2:].replace("-", "_"): number})


def test_depth_levels_are_told_as_they_are(
    make_scene: MakeScene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_scene(1).save(tmp_path / "out", options=OutputOptions(html=False, pictures=False))
    words = ["export", str(tmp_path / "out"), "--to", "depth-png", "--depth-levels", "1e9"]
    assert main(words) == 0
    assert "PNG, 1000000000 levels a unit" in capsys.readouterr().out
    mark = tmp_path / "out" / "export" / "depth-png" / MARK
    assert "1000000000 levels" in json.loads(mark.read_text())["what"]


def test_a_model_without_points_is_no_surprise_if_none_were_asked_for(
    make_scene: MakeScene, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    none = ColmapOptions(points=0, tracks=0)
    make_scene(2).export("colmap", tmp_path / "c", images="working", colmap=none)
    assert "no point" not in caplog.text


def test_a_source_that_is_gone_is_asked_for(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(1)
    scene = replace(scene, info={**scene.info, "source_path": str(tmp_path / "gone.mp4")})
    with pytest.raises(InputError, match=r"gone\.mp4") as caught:
        scene.export("vipe", tmp_path / "v", images="source")
    assert "--source VIDEO" in caught.value.hint


_KILLED = """
import sys, time
from pathlib import Path
from align3r.io import exports, result
from align3r.io.colmap import write_colmap

def write_and_wait(scene, path, options):
    write_colmap(scene, path, options)
    print("written", flush=True)
    time.sleep(60)

exports.Export.load_writer = lambda _: write_and_wait
exports.export(result.load(sys.argv[1]), "colmap", sys.argv[2])
"""


def test_killed_in_the_middle_nothing_looks_finished_and_the_next_run_works(
    make_scene: MakeScene, tmp_path: Path
) -> None:
    scene = make_scene(2)
    scene.save(tmp_path / "result")
    place = tmp_path / "colmap"
    for before in (False, True):  # first a new place, then one with an export in it
        assert place.exists() == before
        command = [sys.executable, "-c", _KILLED, str(tmp_path / "result"), str(place)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stdout.readline() == "written\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert place.exists() == before
        scene.export("colmap", place)
        assert (place / MARK).is_file()
        assert {p.name for p in tmp_path.iterdir()} == {"result", "colmap"}


def test_two_at_once_are_refused(
    make_scene: MakeScene, tmp_path: Path, folder_format: Callable[..., None]
) -> None:
    def nested(scene: Reconstruction, path: Path, options: ExportOptions) -> None:
        folder_format(write_note)
        with pytest.raises(UsageError, match="another run is writing"):
            scene.export("notes", tmp_path / "notes")
        write_note(scene, path, options)

    folder_format(nested)
    make_scene(1).export("notes", tmp_path / "notes")
    assert (tmp_path / "notes" / "note.txt").is_file()


def test_the_method_and_the_function_are_one(make_scene: MakeScene, tmp_path: Path) -> None:
    scene = make_scene(3)
    scene.export("tum", tmp_path / "a.txt")
    export(scene, "tum", tmp_path / "b.txt")
    assert (tmp_path / "a.txt").read_bytes() == (tmp_path / "b.txt").read_bytes()
    assert np.loadtxt(tmp_path / "a.txt").shape == (3, 8)


def test_writers_are_imported_on_use_only() -> None:
    program = (
        "import sys\nimport align3r.io.exports\n"
        "heavy = {'torch', 'pycolmap', 'trimesh', 'OpenEXR', 'rerun'} & set(sys.modules)\n"
        "sys.exit(', '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
