"""`align3r export` as a person types it, for every format of the table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pycolmap
import pytest
from colmap_misses import reprojection_misses

from align3r.cli.main import main
from align3r.io.exports import EXPORTS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
CLIP = str(EXAMPLES / "clip.mp4")
Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize("to", sorted(EXPORTS))
def test_every_format_is_written_where_it_says(result: Path, capsys: Captured, to: str) -> None:
    if to == "rerun":
        pytest.importorskip("rerun", reason="the extra [rerun] is not installed")
    assert main(["export", str(result), "--to", to]) == 0
    kind = EXPORTS[to]
    path = result / "export" / kind.name
    assert f"{path}  {kind.what}\n" in capsys.readouterr().out
    assert path.is_dir() == kind.is_folder
    assert [entry.name for entry in path.parent.iterdir()] == [kind.name]


def test_several_formats_in_one_go_and_again(result: Path) -> None:
    words = ["export", str(result), "--to", "colmap", "tum", "colmap", "--colmap.text"]
    assert main(words) == 0
    first = (result / "export" / "colmap" / "sparse" / "0" / "points3D.txt").read_bytes()
    assert main(words) == 0
    again = (result / "export" / "colmap" / "sparse" / "0" / "points3D.txt").read_bytes()
    assert first == again
    assert {p.name for p in (result / "export").iterdir()} == {"colmap", "trajectory.txt"}


def test_an_unknown_format_is_2_before_anything_is_written(result: Path, capsys: Captured) -> None:
    assert main(["export", str(result), "--to", "ply", "nerfstduio"]) == 2
    shown = capsys.readouterr().err
    assert "there is no export 'nerfstduio'" in shown and "did you mean nerfstudio?" in shown
    assert not (result / "export").exists()
    assert main(["export", str(result)]) == 2


def test_help_lists_every_format(capsys: Captured) -> None:
    assert main(["export", "--help"]) == 0
    shown = capsys.readouterr().out
    for to, kind in EXPORTS.items():
        assert f"- {to}: {kind.name}, {kind.what}." in shown


def test_a_folder_of_somebody_else_is_2(result: Path, tmp_path: Path, capsys: Captured) -> None:
    mine = tmp_path / "mine" / "nerfstudio"
    mine.mkdir(parents=True)
    (mine / "notes.txt").write_text("mine")
    words = ["export", str(result), "--to", "nerfstudio", "-o", str(mine.parent)]
    assert main(words) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    assert main([*words, "--overwrite"]) == 0
    assert (mine / "transforms.json").is_file()


def test_quiet_tells_nothing_of_what_went_well(result: Path, capsys: Captured) -> None:
    assert main(["export", str(result), "--to", "tum", "-q"]) == 0
    shown = capsys.readouterr()
    assert shown.out + shown.err == "" and (result / "export").is_dir()


def test_a_folder_without_a_name_is_2(result: Path, capsys: Captured) -> None:
    assert main(["export", str(result), "--to", "ply", "-o", ""]) == 2
    assert "the name of the output folder is empty" in capsys.readouterr().err
    assert not (result / "export").exists()


def test_source_images_of_nobody_knows_what_are_2_or_3(result: Path, capsys: Captured) -> None:
    assert main(["export", str(result), "--to", "colmap", "--images", "source"]) == 2
    assert "add --source video.mp4" in capsys.readouterr().err
    assert main(["export", str(result), "--to", "colmap", "--source", "gone.mp4"]) == 3
    assert "no such file or folder: gone.mp4" in capsys.readouterr().err
    assert not list((result / "export").glob("*"))


def test_from_the_example_to_a_model_that_fits_its_images(tmp_path: Path) -> None:
    """Reconstructed small, exported at the full size of the source: all is measured anew."""
    out = tmp_path / "out"
    words = [
        "reconstruct",
        CLIP,
        "-o",
        str(out),
        "--max-frames",
        "8",
        "--stop",
        "1",
        "--size",
        "192",
    ]
    assert main([*words, "--output.no-html", "--output.no-pictures"]) == 0
    assert json.loads((out / "scene.json").read_text())["source_path"] == CLIP
    assert main(["export", str(out), "--to", "colmap"]) == 0
    model = pycolmap.Reconstruction(out / "export" / "colmap" / "sparse" / "0")
    assert (model.cameras[1].width, model.cameras[1].height) == (384, 288)
    off, lengths = reprojection_misses(model, least=2)
    assert len(lengths) > 300 and np.mean(lengths) > 3
    assert np.median(np.linalg.norm(off, axis=1)) < 1.0
