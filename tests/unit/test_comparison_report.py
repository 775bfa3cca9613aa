"""compare.json, compare.md and the table, from runs whose figures are known."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from align3r.config import AlignOptions, Options
from align3r.evaluate.comparison_report import (
    as_markdown,
    describe_runs,
    in_words,
    make_report,
    remarks,
    write_report,
)
from align3r.evaluate.variations import plan_runs, read_vary
from align3r.reconstruction import Reconstruction

MakeScene = Callable[..., Reconstruction]
PLAIN = Options(model="geometric", align=AlignOptions(solver="adam"))


@pytest.fixture
def report_of(make_scene: MakeScene, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """The report on runs with these losses and these seconds of `predict pairs`."""

    def make(
        *vary: str, losses: list[dict[str, float]], seconds: list[float], places: str = ""
    ) -> dict[str, Any]:
        (tmp_path / "clip.mp4").write_bytes(b"a video")
        runs = plan_runs(read_vary(vary, PLAIN), PLAIN, lambda: 3)
        scenes, seen = {}, {}
        for k, run in enumerate(runs):
            rows = [
                {"stage": "predict pairs", "seconds": seconds[k], "peak_mb": 900.0},
                {"stage": "align", "seconds": 2.0 + k, "peak_mb": 500.0},
            ]
            info = {"losses": losses[k], "timings": rows, "warnings": ["no parallax"] * (k == 1)}
            scenes[run.name] = dataclasses.replace(make_scene(3), info=info)
            place = places[k : k + 1] or "same"
            seen[run.name] = {"monocular depth": place, "predict pairs": place}
        source = str(tmp_path / "clip.mp4")
        return make_report(runs, scenes, source=source, truth=None, seen=seen)

    return make


def test_time_of_shared_stages_is_that_of_the_run_that_took_it(
    report_of: Callable[..., dict[str, Any]],
) -> None:
    alone = {"losses": [{"total": 1.0}] * 3, "seconds": [9.0, 0.1, 7.0]}
    report = report_of("solver", "flow", places="aab", **alone)
    assert [row["predict s"] for row in describe_runs(report)] == [9.0, 9.0, 7.0]
    assert [row["align s"] for row in describe_runs(report)] == [2.0, 3.0, 4.0]


def test_what_was_not_measured_has_no_column(report_of: Callable[..., dict[str, Any]]) -> None:
    losses = [{"total": 0.25, "flow": 0.5}, {"total": float("nan")}]
    rows = describe_runs(report_of("flow", losses=losses, seconds=[1.0, 0.0]))
    head, cells = in_words(rows)
    assert head == ["", "predict s", "align s", "align MB", "loss", "flow", "gap %"]
    assert cells[0] == ["flow-on", "1.0", "2.0", "500", "0.25", "0.5", "0.00"]
    assert cells[1] == ["flow-off", "1.0", "3.0", "500", "-", "-", "0.00"]


def test_residuals_of_the_whole_video_are_in_the_table(make_scene: MakeScene) -> None:
    runs = plan_runs(read_vary(["solver"], PLAIN), PLAIN, lambda: 3)
    whole = {"points": 0.0123, "inliers": 0.957, "flow_px": 0.416, "flow_inliers": None}
    info = {"residuals": {"whole": whole, "path_scale": 1.0123, "frames": {}, "pairs": {}}}
    scenes = {run.name: dataclasses.replace(make_scene(3), info=info) for run in runs}
    seen = {run.name: {"predict pairs": "same"} for run in runs}
    source = str(Path(__file__).resolve().parents[2] / "examples" / "clip.mp4")
    report = make_report(runs, scenes, source=source, truth=None, seen=seen)
    head, cells = in_words(describe_runs(report))
    shown = dict(zip(head, cells[0], strict=True))
    assert shown["points %"] == "1.23" and shown["in %"] == "96"
    assert shown["flow px"] == "0.42" and shown["depth/path"] == "1.012"
    assert report["runs"]["adam"]["residuals"]["flow_inliers_percent"] is None


def test_the_remarks_say_what_these_runs_show(report_of: Callable[..., dict[str, Any]]) -> None:
    losses = [{"total": 1.0}, {"total": 1.002}, {"total": 0.5}]
    said = remarks(report_of("geometry=scale", "flow", losses=losses, seconds=[1.0] * 3))
    assert said[0].startswith("base: geometry depth, solver adam, flow on, graph")
    assert "the losses differ by 0.2 %" in said[1]
    assert "minimise another sum" in said[2]
    assert said[3] == "scale: no parallax"
    only_solver = remarks(report_of("solver", losses=losses[:2], seconds=[1.0] * 2))
    assert "scale map" not in " ".join(only_solver) and "another sum" not in " ".join(only_solver)


@pytest.mark.parametrize("losses", [{}, {"total": float("nan")}, {"total": 0.0}])
@pytest.mark.parametrize("first", [True, False])
def test_runs_without_a_loss_are_not_said_to_be_alike(
    report_of: Callable[..., dict[str, Any]], losses: dict[str, float], first: bool
) -> None:
    both = [losses, {"total": 1.0}] if first else [{"total": 1.0}, losses]
    report = report_of("geometry=scale", losses=both, seconds=[1.0] * 2)
    assert "scale map" not in " ".join(remarks(report))
    assert "| scale |" in as_markdown(report)


def test_a_depth_that_is_nowhere_known_has_no_gap_in_the_remark(
    report_of: Callable[..., dict[str, Any]],
) -> None:
    report = report_of("geometry=scale", losses=[{"total": 1.0}] * 2, seconds=[1.0] * 2)
    report["runs"]["scale"]["depth_gap_percent"] = None
    said = remarks(report)[1]
    assert "the losses differ by 0 %. Between" in said


def test_the_page_has_the_table_and_what_its_heads_mean(
    report_of: Callable[..., dict[str, Any]], make_scene: MakeScene, tmp_path: Path
) -> None:
    losses = [{"total": 0.25}, {"total": 0.125}]
    report = report_of("solver", losses=losses, seconds=[1.0, 0.0])
    lines = as_markdown(report).splitlines()
    assert lines[0] == "# clip.mp4: solver"
    assert "| gauss-newton | 1.0 | 3.0 | 500 | 0.125 | 0.00 |" in lines
    assert len({line.count("|") for line in lines if line.startswith("|")}) == 1
    assert any(line.startswith("- align MB: ") for line in lines)
    assert not any(line.startswith("- ATE") for line in lines)
    write_report(report, {name: make_scene(2) for name in report["runs"]}, tmp_path)
    assert json.loads((tmp_path / "compare.json").read_text()) == report
