"""The report of an evaluation: what stands in it, and how numbers and names are written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from align3r.evaluate.metrics.depth_gauges import Gauge
from align3r.evaluate.pictures import depth_strip, trajectory_plot
from align3r.evaluate.protocol_table import protocol
from align3r.evaluate.report import as_csv, comparison_table, markdown_table, remarks, write_report
from align3r.evaluate.summary import Summary, summarise
from align3r.io.user_cache import user_cache


def measured(name: str, **row: float) -> dict[str, Any]:
    return {
        "sequence": name,
        "state": "measured",
        "row": row,
        "frames": ["1", "2"],
        "seconds": 2.0,
        "remarks": ["1 of 3 images have no pose: they are left out"],
        "pictures": {"path": "a~b.path.png"},
    }


@pytest.fixture
def summary() -> Summary:
    entries = [
        measured("a<b", ate_m=0.1, rpe_trans_m=0.02, rpe_rot_deg=float("nan"), path_m=3.0),
        {"sequence": "c|d", "state": "failed", "error": "x.png is damaged", "hint": "copy it"},
        {"sequence": "e", "state": "left out", "error": "it has 1 frames", "hint": ""},
    ]
    config = {"options": {"model": "geometric"}}
    return summarise(protocol("pose", "sintel"), entries, config, wanted=["a<b", "c|d", "e", "f"])


def test_ours_stands_before_the_published_rows(summary: Summary) -> None:
    head, rows = comparison_table(summary)
    assert list(head) == ["method", "ATE", "RPE trans", "source"], "a column nobody has is left out"
    assert list(rows[0]) == ["**align3r, geometric**", "0.1", "0.02", "measured here"]
    assert ["Align3R", "0.128", "0.042", "Align3R, Table 3"] in [list(row) for row in rows]


def test_published_figures_keep_their_digits() -> None:
    entries = [measured("a", ate_m=0.123456, rpe_trans_m=0.02, rpe_rot_deg=1.0)]
    config = {"options": {"model": "geometric"}}
    found = summarise(protocol("pose", "sintel"), entries, config, wanted=["a"])
    cells = {row[0]: row for row in comparison_table(found)[1]}
    assert cells["DUSt3R, without flow"][3] == "11.426"
    assert cells["**align3r, geometric**"][1] == "0.1235"


def test_everything_that_is_not_measured_is_said(summary: Summary) -> None:
    said = " ".join(remarks(summary))
    assert "1 of 4 sequences are measured" in said
    assert "Not in the folder, or not asked for: f." in said
    assert "Failed: c|d: x.png is damaged. Hint: copy it." in said
    assert "Left out: e: it has 1 frames." in said
    assert "a<b: 1 of 3 images have no pose" in said


@pytest.mark.parametrize(
    ("task", "name", "words"),
    [
        ("depth", "sintel", "weighted by pixels"),
        ("pose", "sintel", "every sequence counts alike"),
        ("multi-view", "co3d", "every category counts alike"),
        ("multi-view", "re10k", "every sequence counts alike"),
        ("mono", "nyuv2", "every image counts alike"),
        ("two-view", "scannet1500", "all pairs are one list"),
    ],
)
def test_what_counts_how_much_is_said(task: str, name: str, words: str) -> None:
    config = {"options": {"model": "dust3r"}}
    said = remarks(summarise(protocol(task, name), [], config, wanted=["a"]))
    assert said[0].endswith(f"; {words}.")


def test_a_given_camera_is_no_secret(summary: Summary) -> None:
    assert "camera is given" not in " ".join(remarks(summary))
    given = {"options": {"model": "geometric", "camera": {"focal": 500.0, "intrinsics": None}}}
    said = remarks(summarise(summary.protocol, summary.entries, given, wanted=[]))
    assert "The camera is given (focal); methods of papers do not know it." in said


def test_a_table_of_ours_is_no_papers(summary: Summary) -> None:
    found = summarise(protocol("video", "rgbd"), [], summary.config, wanted=["a"])
    assert "The mean is that of the others." in " ".join(remarks(found))
    assert "not that of the paper's table" in " ".join(remarks(summary))


def test_the_csv_is_read_back(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(summary))))
    assert [row["sequence"] for row in rows] == ["a<b", "c|d", "e", "mean"]
    assert rows[0]["path_m"] == "3.0" and rows[0]["rpe_rot_deg"] == ""
    assert rows[1]["state"] == "failed" and rows[1]["ate_m"] == ""
    assert rows[3]["ate_m"] == "0.1"


def test_names_cannot_break_a_page(summary: Summary, tmp_path: Path) -> None:
    write_report(summary, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "a&lt;b" in page and "a<b" not in page
    assert "sequences/a~b.path.png" in page
    about = json.loads((tmp_path / "evaluation.json").read_text())
    assert about["mean"]["ate_m"] == 0.1 and about["sequences"][1]["hint"] == "copy it"
    assert '<th class="words">source</th>' in page and "<th>RPE trans</th></tr>" in page
    assert "c\\|d" in markdown_table((["x"], [["c|d"]]))


def test_an_evaluation_of_nothing_is_written_too(tmp_path: Path) -> None:
    entries = [{"sequence": "a", "state": "failed", "error": "no", "hint": ""}]
    config = {"options": {"model": "geometric"}}
    found = summarise(protocol("depth", "sintel"), entries, config, wanted=["a"])
    write_report(found, tmp_path)
    assert "| **align3r, geometric** | - |" in (tmp_path / "report.md").read_text()


class Images:
    """Stands for a sequence."""

    def __len__(self) -> int:
        return 4

    def image(self, i: int) -> np.ndarray:
        return np.full((30, 40, 3), 50 * i, np.uint8)


def test_a_right_depth_is_white_and_a_wrong_one_coloured() -> None:
    gt = np.full((30, 40), 2.0)
    gt[:, :10] = np.nan

    def pair(i: int) -> tuple[np.ndarray, np.ndarray]:
        return gt, np.full((30, 40), 4.0 if i < 3 else 8.0)

    strip = depth_strip(Images(), pair, [Gauge(0.5)])  # type: ignore[arg-type]
    height, width = strip.shape[0] // 4, strip.shape[1] // 4
    errors = strip[3 * height :]
    assert (errors[height // 2, width // 2] == 255).all(), "right"
    assert (errors[height // 2, 4] < 60).all(), "not known"
    red, _, blue = errors[height // 2, 3 * width + width // 2]
    assert red > 150 > blue, "too far"


@pytest.mark.parametrize("still", [True, False])
def test_paths_are_drawn(still: bool) -> None:
    gt = np.tile(np.eye(4), (5, 1, 1))
    gt[:, 0, 3] = 0.0 if still else np.arange(5.0)
    picture = trajectory_plot(gt, gt)
    assert picture.shape == (480, 480, 3) and (picture != 255).any()


def test_the_cache_is_where_the_user_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/some/where")
    assert user_cache("rendered") == Path("/some/where/align3r/rendered")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert user_cache("rendered") == Path.home() / ".cache" / "align3r" / "rendered"
