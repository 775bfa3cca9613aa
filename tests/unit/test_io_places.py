"""Replacing a result removes that result and nothing else; every output has a name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from align3r import pipeline
from align3r.cli.main import main
from align3r.config import CameraOptions, Options, OutputOptions, PriorOptions
from align3r.errors import UsageError
from align3r.evaluate.comparing import compare
from align3r.evaluate.comparison_place import check_place
from align3r.io.places import check_inputs_stay, output_place
from align3r.io.whole import check_output
from align3r.reconstruction import Reconstruction
from align3r.splitting import reconstruct_shots

MakeScene = Callable[..., Reconstruction]
BARE = OutputOptions(html=False, pictures=False, overwrite=True)


@pytest.fixture
def out(make_scene: MakeScene, tmp_path: Path) -> Path:
    return make_scene(1).save(tmp_path / "out", options=BARE)


@pytest.mark.parametrize("run", [pipeline.reconstruct, reconstruct_shots, compare])
def test_a_video_in_the_output_is_kept(run: Callable[..., object], out: Path) -> None:
    video = out / "images" / "video.mp4"
    video.write_bytes(b"precious")
    with pytest.raises(UsageError, match=r"the input .*video\.mp4 lies in"):
        run(video, out=out, options=Options(output=BARE))
    assert video.read_bytes() == b"precious"


@pytest.mark.parametrize("given", ["poses", "colmap", "calibration", "masks", "dir"])
def test_what_is_given_beside_the_video_is_kept(given: str, out: Path, tmp_path: Path) -> None:
    video, inside = tmp_path / "video.mp4", out / "moving"
    video.write_bytes(b"video")
    camera = CameraOptions()
    if given != "dir":
        camera = replace(camera, **{given: str(inside)})  # type: ignore[arg-type]
    prior = PriorOptions(dir=str(inside) if given == "dir" else None)
    options = Options(camera=camera, prior=prior, output=BARE)
    with pytest.raises(UsageError, match=r"the input .*moving lies in") as caught:
        check_inputs_stay(out, video, options)
    assert caught.value.exit_code == 2
    check_inputs_stay(tmp_path / "new", video, options)


def test_links_do_not_hide_an_input(out: Path, tmp_path: Path) -> None:
    (out / "images" / "video.mp4").write_bytes(b"precious")
    (tmp_path / "link.mp4").symlink_to(out / "images" / "video.mp4")
    (tmp_path / "video.mp4").write_bytes(b"video")
    (out / "images" / "link.mp4").symlink_to(tmp_path / "video.mp4")
    for source in (tmp_path / "link.mp4", out / "images" / "link.mp4"):
        with pytest.raises(UsageError, match="lies in"):
            check_inputs_stay(out, source, Options(output=BARE))
    check_inputs_stay(out, tmp_path / "video.mp4", Options(output=BARE))


def test_other_things_in_a_result_are_kept(make_scene: MakeScene, out: Path) -> None:
    (out / ".DS_Store").write_text("")
    make_scene(1).save(out, options=BARE)
    (out / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match=r"1 thing besides the result \(letter\.txt\)") as caught:
        make_scene(1).save(out, options=BARE)
    assert "move" in caught.value.hint
    (out / "export").mkdir()
    with pytest.raises(UsageError, match=r"2 things besides the result \(export\)"):
        check_output(out, True)
    assert (out / "letter.txt").read_text() == "dear"


def test_a_whole_result_and_nothing_else_is_replaced(make_scene: MakeScene, tmp_path: Path) -> None:
    for _ in range(2):
        make_scene(2).save(tmp_path / "out", options=OutputOptions(overwrite=True))


def test_shots_and_comparisons(make_scene: MakeScene, tmp_path: Path) -> None:
    shots, runs = tmp_path / "shots", tmp_path / "runs"
    make_scene(1).save(shots / "shot_000", options=BARE)
    make_scene(1).save(runs / "depth", options=BARE)
    (shots / "shots.json").write_text("{}")
    for name in ("compare.json", "compare.md", "compare.png"):
        (runs / name).write_text("{}")
    check_output(shots, True)
    check_place(runs, overwrite=True)
    (shots / "shot_000" / "letter.txt").write_text("dear")
    (runs / "depth" / "letter.txt").write_text("dear")
    with pytest.raises(UsageError, match=r"1 thing besides the result \(shot_000/letter\.txt\)"):
        check_output(shots, True)
    with pytest.raises(UsageError, match=r"1 thing besides the result \(depth/letter\.txt\)"):
        check_place(runs, overwrite=True)


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_places_without_a_name(
    name: str,
    make_scene: MakeScene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    here = tmp_path / "above" / "here"
    here.mkdir(parents=True)
    (tmp_path / "video.mp4").write_bytes(b"video")
    monkeypatch.chdir(here)
    with pytest.raises(UsageError):
        make_scene(1).save(name)
    for extra in ([], ["--split-shots"], ["--overwrite"]):
        assert main(["reconstruct", str(tmp_path / "video.mp4"), "-o", name, *extra]) == 2
        assert "error" in capsys.readouterr().err
    assert main(["compare", str(tmp_path / "video.mp4"), "-o", name]) == 2
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["above", "here", "video.mp4"]


def test_the_name_of_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert output_place("out") == Path("out")
    assert output_place("a/../out").name == "out"
    assert output_place(".") == tmp_path.resolve()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    assert output_place("deep/er/..") == (tmp_path / "deep").resolve()
