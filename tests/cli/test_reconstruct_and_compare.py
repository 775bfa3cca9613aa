"""What reconstruct and compare pass on, print and write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from align3r.cli.compare import folded_table
from align3r.cli.main import main
from align3r.cli.reconstruct import result_folder
from align3r.cli.terminal import table
from align3r.config import InputOptions, Options
from align3r.errors import SolveError, WeightsError
from align3r.io.result import load
from align3r.reconstruction import Reconstruction

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def clip(make_clip: Callable[..., Path]) -> Path:
    return make_clip("clip.mp4", n=3)


def test_reconstruct_says_what_it_did_and_what_to_open(
    pipeline: Any, clip: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = tmp_path / "out"
    assert main(["reconstruct", str(clip), "-o", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "warning: the camera hardly moves" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["align", "2.5", "480"] in rows
    assert ["total", "3.8", "480"] in rows
    assert "depth.mp4" in shown and "scene.html" not in shown
    assert len(load(out)) == 3
    assert pipeline.sources == [str(clip)]


def test_options_reach_the_pipeline(pipeline: Any, clip: Path, tmp_path: Path) -> None:
    words = ["reconstruct", str(clip), "-o", str(tmp_path / "out"), "--start", "0.5"]
    words += ["--align.steps", "20", "--output.no-pictures", "--camera.intrinsics", "1", "2"]
    assert main([*words, "3", "4", "--max-frames", "9"]) == 0
    options = pipeline.options[0]
    assert options.input == InputOptions(start=0.5, max_frames=9)
    assert options.align.steps == 20
    assert options.camera.intrinsics == (1, 2, 3, 4)
    assert not options.output.pictures


def test_config_repeats_a_result_and_flags_win(pipeline: Any, clip: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "one", tmp_path / "two"
    assert main(["reconstruct", str(clip), "-o", str(first), "--stride", "2", "--seed", "5"]) == 0
    config = str(first / "scene.json")
    again = ["reconstruct", str(clip), "-o", str(second), "--config", config, "--seed", "6"]
    assert main(again) == 0
    assert pipeline.options[1] == Options(seed=6, input=InputOptions(stride=2))


def test_dry_run_prints_the_plan_and_writes_nothing(
    pipeline: Any, clip: Path, tmp_path: Path, capsys: Captured
) -> None:
    assert main(["reconstruct", str(clip), "-o", str(tmp_path / "out"), "--dry-run"]) == 0
    assert capsys.readouterr().out == "3 frames, 3 pairs, 0.1 GB\n"
    assert not pipeline.options and not (tmp_path / "out").exists()


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--split-shots"]])
def test_a_taken_place_is_refused_before_the_input_is_read(
    pipeline: Any, clip: Path, tmp_path: Path, more: list[str], capsys: Captured
) -> None:
    (tmp_path / "file").write_text("mine")
    words = ["reconstruct", str(clip), *more, "-o"]
    assert main([*words, str(tmp_path / "file")]) == 2
    assert "is not a folder" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "file" / "out")]) == 3
    assert "is a file, not a folder" in capsys.readouterr().err
    assert main([*words, str(clip.parent), "--overwrite"]) == 2
    assert "is to be replaced" in capsys.readouterr().err
    assert not pipeline.options and (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("command", ["reconstruct", "compare"])
def test_quiet_tells_warnings_alone(
    pipeline: Any, clip: Path, tmp_path: Path, command: str, capsys: Captured
) -> None:
    assert main([command, str(clip), "-q", "-o", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr()
    told = [*shown.out.splitlines(), *shown.err.splitlines()]
    assert told == (["warning: the camera hardly moves"] if command == "reconstruct" else [])


def test_quiet_does_not_hide_what_the_library_warns_of(
    pipeline: Any, clip: Path, tmp_path: Path, capsys: Captured
) -> None:
    words = ["reconstruct", str(clip), "-q", "-o", str(tmp_path / "out")]
    assert main([*words, "--output.min-confidence", "1000"]) == 0
    assert capsys.readouterr().err.count("warning: no static point has a confidence of 1000") == 1


def test_several_images_are_one_input(pipeline: Any, tmp_path: Path) -> None:
    words = ["reconstruct", "a.png", "b.png", "-o", str(tmp_path / "out")]
    assert main(words) == 0
    assert pipeline.sources == [["a.png", "b.png"]]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (("films/walk.mp4",), "walk_align3r"),
        (("films/frames",), "frames_align3r"),
        (("films/frames/*.png",), "frames_align3r"),
        (("frames/1.png", "frames/2.png"), "frames_align3r"),
    ],
)
def test_the_result_is_named_after_the_input(
    source: tuple[str, ...], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert result_folder(source, None, "align3r") == tmp_path / name


def test_each_command_names_its_own_folder(capsys: Captured) -> None:
    for command, name, other in (
        ("reconstruct", "NAME_align3r", "NAME_compare"),
        ("compare", "NAME_compare", "NAME_align3r"),
    ):
        assert main([command, "--help"]) == 0
        shown = capsys.readouterr().out
        assert name in shown and other not in shown


def test_compare_reports_both(pipeline: Any, clip: Path, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "both"
    assert main(["compare", str(clip), "-o", str(out)]) == 0
    assert [o.align.geometry for o in pipeline.options] == ["depth", "scale"]
    report = json.loads((out / "compare.json").read_text())
    assert report["runs"]["depth"]["align_seconds"] == 2.5
    assert report["runs"]["scale"]["losses"] == {"total": 0.5}
    assert report["runs"]["scale"]["scale_to_base"] == pytest.approx(1 / 1.5, rel=1e-6)
    assert report["runs"]["scale"]["depth_gap_percent"] == pytest.approx(0, abs=1e-3)
    about = (out / "compare.md").read_text()
    assert "| scale | 1.2 | 2.5 | 480 | 0.5 | 0.00 |" in about
    assert "the same problem as a depth map" in about
    assert cv2.imread(str(out / "compare.png")) is not None
    assert {p.name for p in out.iterdir()} == {
        *["depth", "scale", "compare.json", "compare.md", "compare.png"]
    }
    shown = capsys.readouterr().out
    assert ["scale", "1.2", "2.5", "480", "0.5", "0.00"] in [x.split() for x in shown.splitlines()]
    assert "the same problem as a depth map" in " ".join(shown.split())
    assert "scale: the camera hardly" in shown
    assert len(load(out / "scale")) == 3
    assert {p.name for p in tmp_path.iterdir()} == {"both", "clip.mp4"}


def test_compare_against_a_truth(
    pipeline: Any,
    make_clip: Callable[..., Path],
    tmp_path: Path,
    make_scene: Callable[..., Reconstruction],
) -> None:
    n, (width, height) = 6, (80, 60)
    clip = make_clip("clip.mp4", n=3, size=(width, height))
    truth = make_scene(n)
    depth = np.stack([truth.depth(i) for i in range(n)])
    for i in range(3):  # the small scene has frames 0, 2 and 4 of its source
        depth[2 * i] = make_scene(3).depth(i)
    np.savez(
        tmp_path / "truth.npz",
        size=(width, height),
        world_from_cam=truth.world_from_cam,
        K=truth.intrinsics,
        time=truth.times,
        depth=depth.astype(np.float32),
        depth_stride=1,
        moving=np.packbits(np.zeros((n, height, width), bool)),
    )
    words = ["compare", str(clip), "-o", str(tmp_path / "both")]
    assert main([*words, "--truth", str(tmp_path / "truth.npz")]) == 0
    report = json.loads((tmp_path / "both" / "compare.json").read_text())
    scores = report["runs"]["depth"]["score"]
    assert scores["abs_rel"] == pytest.approx(0, abs=1e-6)
    assert scores["delta1"] == 1
    assert "| Abs Rel |" in (tmp_path / "both" / "compare.md").read_text()


@pytest.mark.parametrize(
    ("size", "n", "told"),
    [((80, 60), 3, "is of 64x48 frames, the truth of 80x60"), ((64, 48), 2, "ends at 1")],
)
def test_the_truth_of_another_video_is_refused_before_any_run(
    pipeline: Any,
    clip: Path,
    tmp_path: Path,
    capsys: Captured,
    size: tuple[int, int],
    n: int,
    told: str,
) -> None:
    width, height = size
    np.savez(
        tmp_path / "truth.npz",
        size=size,
        world_from_cam=np.tile(np.eye(4), (n, 1, 1)),
        K=np.tile(np.eye(3), (n, 1, 1)),
        time=np.arange(n) / 10,
        depth=np.ones((n, height, width), np.float32),
        depth_stride=1,
        moving=np.packbits(np.zeros((n, height, width), bool)),
    )
    words = ["compare", str(clip), "-o", str(tmp_path / "both")]
    assert main([*words, "--truth", str(tmp_path / "truth.npz")]) == 3
    assert told in capsys.readouterr().err
    assert not pipeline.options
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "truth.npz"}


def test_compare_takes_up_where_it_failed(pipeline: Any, clip: Path, tmp_path: Path) -> None:
    pipeline.error, pipeline.fail_at = SolveError("no"), 1
    words = ["compare", str(clip), "-o", str(tmp_path / "both")]
    assert main(words) == 5
    assert not (tmp_path / "both").exists()
    pipeline.error = None
    assert main(words) == 0
    assert [o.align.geometry for o in pipeline.options] == ["depth", "scale", "scale"]


def test_several_things_are_varied_one_at_a_time(pipeline: Any, clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "all"
    words = ["compare", str(clip), "--vary", "geometry", "solver", "flow=off", "-o", str(out)]
    assert main([*words, "--align.solver", "adam"]) == 0
    changed = [
        (o.align.geometry, o.align.solver, o.align.flow_weight > 0) for o in pipeline.options
    ]
    assert changed == [
        ("depth", "adam", True),
        ("scale", "adam", True),
        ("depth", "gauss-newton", True),
        ("depth", "adam", False),
    ]
    runs = json.loads((out / "compare.json").read_text())["runs"]
    assert {name: entry["varies"] for name, entry in runs.items()} == {
        "base": "",
        "scale": "geometry",
        "gauss-newton": "solver",
        "flow-off": "flow",
    }
    assert {path.name for path in out.iterdir() if path.is_dir()} == set(runs)


def test_graphs_of_the_frames_there_are(
    pipeline: Any, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    clip = make_clip("longer.mp4", n=13)
    assert main(["compare", str(clip), "--vary", "graph", "-o", str(tmp_path / "out")]) == 0
    graphs = [o.pairs.graph for o in pipeline.options]
    assert graphs == ["keyframes", "complete", "swinstride", "logwin"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--vary", "geometri"], "did you mean geometry?"),
        (["--vary", "speed"], "there are geometry, solver, flow, graph, method, prior"),
        (["--vary", "graph=complete,nothing"], "there is no 'nothing' for graph"),
        (["--vary", "geometry", "geometry=scale"], "varied twice"),
        (["--vary", "geometry=depth"], "changes nothing"),
        (["--vary", "graph=complete"], "of 3 frames changes nothing"),
        (["--vary", "prior"], "add --align.geometry scale"),
        (["--vary", "prior", "--align.geometry", "scale"], "give depth maps with --prior-dir"),
        (["--vary"], "nothing is to be varied"),
    ],
)
def test_what_cannot_be_varied_is_said_before_any_work(
    pipeline: Any, clip: Path, tmp_path: Path, capsys: Captured, words: list[str], told: str
) -> None:
    assert main(["compare", str(clip), "-o", str(tmp_path / "out"), *words]) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not pipeline.options
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4"}


def test_weights_of_all_runs_are_looked_for_first(
    pipeline: Any, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_but_of_depth(options: Options) -> None:
        if options.align.geometry == "scale":
            raise WeightsError("no weights")

    monkeypatch.setattr("align3r.evaluate.comparing.fetch_weights", none_but_of_depth)
    assert main(["compare", str(clip), "-o", str(tmp_path / "out")]) == 6
    assert not pipeline.options


def test_runs_of_another_comparison_are_not_taken_along(
    pipeline: Any, clip: Path, tmp_path: Path
) -> None:
    pipeline.error, pipeline.fail_at = SolveError("no"), 2
    words = ["compare", str(clip), "-o", str(tmp_path / "out"), "--vary"]
    assert main([*words, "solver", "flow"]) == 5
    pipeline.error = None
    assert main([*words, "geometry"]) == 0
    folders = {path.name for path in (tmp_path / "out").iterdir() if path.is_dir()}
    assert folders == {"depth", "scale"}


def test_compare_replaces_only_comparisons_and_only_when_asked(
    pipeline: Any, clip: Path, tmp_path: Path, capsys: Captured
) -> None:
    words = ["compare", str(clip), "-o", str(tmp_path / "both")]
    assert main(words) == 0
    assert main(words) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*words, "--overwrite"]) == 0
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert main(["compare", str(clip), "-o", str(tmp_path / "mine"), "--overwrite"]) == 2
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_a_table_that_is_too_wide_is_folded() -> None:
    lines = folded_table(("", "one", "two"), [("a", "1.5", "2")], width=10).splitlines()
    assert lines == ["     one", "  ------", "  a  1.5", "", "     two", "  ------", "  a    2"]
    whole = folded_table(("", "one", "two"), [("a", "1.5", "2")], width=80)
    assert whole == table(("", "one", "two"), [("a", "1.5", "2")])


def test_tables_line_up() -> None:
    lines = table(("stage", "s"), [("a", "1.5"), ("longer", "10.0")]).splitlines()
    assert lines == ["  stage      s", "  ------------", "  a        1.5", "  longer  10.0"]
