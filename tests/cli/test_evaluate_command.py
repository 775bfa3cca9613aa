"""`align3r evaluate` on tiny data sets in the true formats: what it writes, keeps and refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from mini_sets import GEOMETRIC, SETS, evaluate, measured, sequences_of

from align3r import cluster
from align3r.cli.main import main
from align3r.cluster import Died, Needs, Work
from align3r.evaluate.one_sequence import Job
from align3r.evaluate.protocol_table import PROTOCOLS
from align3r.evaluate.tasks import pose
from align3r.reconstruction import Reconstruction

Captured = pytest.CaptureFixture[str]


def test_the_embedded_model_on_a_mini_set(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    assert evaluate("depth", "sintel", out) == 0
    assert capsys.readouterr().out == ""
    rows = sequences_of(out)
    assert list(rows) == ["alley_2", "bandage_1", "mean"]
    pixels, errors = (
        np.array([float(rows[name][key]) for name in ("alley_2", "bandage_1")])
        for key in ("pixels", "abs_rel")
    )
    assert 0 < errors.min() and errors.max() < 1
    assert float(rows["mean"]["abs_rel"]) == pytest.approx(pixels @ errors / pixels.sum())
    about = json.loads((out / "evaluation.json").read_text())
    assert about["protocol"] == "align3r/depth/sintel" and len(about["missing"]) == 21
    assert about["options"]["model"] == "geometric"
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    for picture in (out / "sequences").glob("*.png"):
        assert f"sequences/{picture.name}" in page and f"sequences/{picture.name}" in text
    assert "| DUSt3R | 0.422 |" in text
    words = ["evaluate", "depth", "--dataset", "sintel", "--root", str(SETS / "sintel")]
    assert main([*words, "-o", str(out), *GEOMETRIC]) == 0
    assert "measured here" in capsys.readouterr().out


def test_what_is_measured_is_not_measured_again(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert evaluate("pose", "sintel", out) == 0
    file = out / "sequences" / "alley_2.json"
    before = file.stat().st_mtime_ns
    assert evaluate("pose", "sintel", out) == 0
    assert file.stat().st_mtime_ns == before
    for damaged in ('{"state": "measured"}', '{"state": [1]}', '{"sta', "[]"):
        file.write_text(damaged)
        assert evaluate("pose", "sintel", out) == 0
        assert float(sequences_of(out)["alley_2"]["ate_m"]) > 0, damaged


def test_a_broken_sequence_leaves_the_others_alone(tmp_path: Path, capsys: Captured) -> None:
    root, out = tmp_path / "sintel", tmp_path / "out"
    shutil.copytree(SETS / "sintel", root)
    broken = root / "training" / "depth" / "bandage_1" / "frame_0002.dpt"
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    assert evaluate("depth", "sintel", out, root=root) == 7
    assert "frame_0002.dpt" in capsys.readouterr().err
    rows = sequences_of(out)
    assert rows["bandage_1"]["state"] == "failed" and rows["alley_2"]["state"] == "measured"
    assert rows["mean"]["abs_rel"] == rows["alley_2"]["abs_rel"]
    assert "Failed: bandage_1" in (out / "report.md").read_text()
    kept = (out / "sequences" / "alley_2.json").stat().st_mtime_ns
    broken.write_bytes(whole)
    assert evaluate("depth", "sintel", out, root=root) == 0
    assert sequences_of(out)["bandage_1"]["state"] == "measured"
    assert (out / "sequences" / "alley_2.json").stat().st_mtime_ns == kept


@pytest.mark.parametrize("damage", ["missing", "nan pose", "size"])
def test_every_kind_of_damage_is_named(damage: str, tmp_path: Path, capsys: Captured) -> None:
    root = tmp_path / "sintel"
    shutil.copytree(SETS / "sintel", root)
    if damage == "missing":
        (root / "training/depth/bandage_1/frame_0001.dpt").unlink()
    elif damage == "nan pose":
        file = root / "training/camdata_left/bandage_1/frame_0001.cam"
        data = bytearray(file.read_bytes())
        data[-8:] = np.float64(np.nan).tobytes()
        file.write_bytes(data)
    else:
        cv2.imwrite(
            str(root / "training/clean/bandage_1/frame_0002.png"), np.zeros((20, 30, 3), np.uint8)
        )
    assert evaluate("depth", "sintel", tmp_path / "out", root=root) == 7
    words = capsys.readouterr().err
    assert "bandage_1" in words and "Traceback" not in words
    assert sequences_of(tmp_path / "out")["alley_2"]["state"] == "measured"


def test_processes_measure_what_one_measures(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    assert evaluate("depth", "sintel", one) == 0
    assert evaluate("depth", "sintel", two, "--jobs", "2") == 0
    rows = [sequences_of(out) for out in (one, two)]
    assert rows[0].keys() == rows[1].keys()
    for name in rows[0]:
        for key in ("abs_rel", "rmse", "delta1"):
            assert float(rows[0][name][key]) == pytest.approx(float(rows[1][name][key]), rel=1e-6)


class OneProcess:
    """Stands for a Ray cluster: a task is done when it is sent, but for one whose worker dies."""

    has_gpu = False

    def __init__(self, dies: str = "") -> None:
        self.dies = dies
        self.answers: dict[int, Any] = {}
        self.ended: list[int] = []

    @contextmanager
    def connected(self, address: str | None) -> Iterator[OneProcess]:
        assert address == "there:6379"
        yield self

    def needs(self, n_tasks: int, *, cpus: int | None, gpus: float | None) -> Needs:
        return Needs(1, gpus or 0.0)

    def describe(self, needs: Needs) -> str:
        return "one process"

    def send(self, work: Work, task: Job, needs: Needs) -> int:
        died = Died("the worker died", 1)
        answer = died if task.sequence == self.dies else work(task, threads=1, share=1.0)
        self.answers[len(self.answers)] = answer
        return len(self.answers) - 1

    def wait(self, sent: Sequence[int], *, timeout_s: float) -> list[int]:
        return [min(sent)]

    def answer(self, sent: int) -> Any:
        return self.answers[sent]

    def end(self, sent: Sequence[int]) -> None:
        self.ended += sent


def test_a_cluster_measures_and_may_lose_a_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    out, address = tmp_path / "out", ["--address", "there:6379"]
    monkeypatch.setattr(cluster, "connected", OneProcess("alley_2").connected)
    assert evaluate("depth", "sintel", out, *address) == 7
    assert "alley_2: the worker died" in capsys.readouterr().err
    said = json.loads((out / "evaluation.json").read_text())["sequences"][0]
    assert said["state"] == "failed" and said["error"] == "the worker died"
    rows = sequences_of(out)
    assert rows["alley_2"]["state"] == "failed" and rows["bandage_1"]["state"] == "measured"
    monkeypatch.setattr(cluster, "connected", OneProcess().connected)
    assert evaluate("depth", "sintel", out, *address) == 0
    alone = tmp_path / "alone"
    assert evaluate("depth", "sintel", alone) == 0
    for name, row in sequences_of(out).items():
        assert row["abs_rel"] == sequences_of(alone)[name]["abs_rel"]


def test_another_configuration_is_not_mixed_in(tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "out"
    assert evaluate("pose", "sintel", out) == 0
    assert evaluate("pose", "sintel", out, "--size", "256") == 2
    assert "evaluation of another protocol, data, version or options" in capsys.readouterr().err
    assert evaluate("pose", "sintel", out, "--size", "256", "--overwrite") == 0
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "letter.txt").write_text("dear")
    assert evaluate("pose", "sintel", mine, "--overwrite") == 2
    assert (mine / "letter.txt").read_text() == "dear"
    (mine / "config.json").write_text('{"model": "of somebody else"}')
    assert evaluate("pose", "sintel", mine, "--overwrite") == 2
    assert (mine / "letter.txt").read_text() == "dear"
    (out / "letter.txt").write_text("dear")
    assert evaluate("pose", "sintel", out, "--overwrite") == 2
    assert "1 other thing (letter.txt)" in capsys.readouterr().err
    assert (out / "letter.txt").read_text() == "dear"


def test_an_evaluation_that_replaced_another_is_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert evaluate("pose", "sintel", out, "--size", "256", "--overwrite") == 0
    file = out / "sequences" / "alley_2.json"
    before = file.stat().st_mtime_ns
    assert evaluate("pose", "sintel", out, "--size", "256") == 0
    assert file.stat().st_mtime_ns == before


def test_an_error_nobody_thought_of_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails(*_: object) -> Reconstruction:
        raise ZeroDivisionError("1/0")

    monkeypatch.setattr(pose, "reconstruct_sequence", fails)
    entry = measured("align3r/pose/sintel", "alley_2", tmp_path / "sequences", SETS / "sintel")
    assert entry["state"] == "failed" and entry["error"] == "ZeroDivisionError: 1/0"
    assert entry["hint"] == "the traceback is in sequences/alley_2.json"
    stored = json.loads((tmp_path / "sequences" / "alley_2.json").read_text())
    assert "in fails" in stored["traceback"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["depth"], 2, "no data set is given"),
        (["depth", "--dataset", "sintel"], 2, "no folder of sintel is given"),
        (["depth", "--dataset", "sintel", "--root", "nowhere"], 3, "no folder"),
        (["depth", "--dataset", "mars", "--root", "."], 2, "no protocol for depth on 'mars'"),
        (["pose", "--dataset", "sintel", "--root", str(SETS / "bonn")], 3, "MPI-Sintel"),
        (["ablation", "--dataset", "nyuv2", "--root", "."], 2, "no videos in 'nyuv2'"),
        (
            ["depth", "--dataset", "sintel", "--root", str(SETS / "sintel"), "--jobs", "0"],
            2,
            "--jobs",
        ),
        (["ablation", "--dataset", "sintel", "--root", ".", "--jobs", "2"], 2, "--jobs says"),
        (["depth", "--dataset", "sintel", "--root", ".", "--vary", "flow"], 2, "--vary says"),
        (
            ["ablation", "--dataset", "sintel", "--root", str(SETS / "sintel"), "--vary", "rain"],
            2,
            "no 'rain' to vary",
        ),
    ],
)
def test_mistakes_have_a_sentence_and_a_hint(
    words: list[str],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["evaluate", *words, *GEOMETRIC]) == code
    shown = capsys.readouterr().err
    assert said in shown and "hint:" in shown and "Traceback" not in shown
    assert not list(tmp_path.iterdir())


def test_all_protocols_are_listed(capsys: Captured) -> None:
    assert main(["evaluate", "list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) >= len(PROTOCOLS) + 1


def test_an_ablation_keeps_tables_and_pictures(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--vary", "flow", "method", "--sequences", "alley_2"]
    assert evaluate("ablation", "sintel", out, *words) == 0
    about = json.loads((out / "ablation.json").read_text())
    runs = {row["run"]: row for row in about["mean"]}
    assert set(runs) >= {"base", "flow-off", "pairs-monst3r"}
    assert runs["pairs-monst3r"]["pairs"] > 0
    assert runs["base"]["Abs Rel"] < 2, "without the sky"
    text = (out / "ablation.md").read_text()
    assert "Table 3" in text and "Table 2 (depth map instead" in text
    left = {path.name for path in (out / "sequences" / "alley_2").iterdir()}
    assert left == {"compare.json", "compare.md", "compare.png"}
    before = (out / "sequences" / "alley_2" / "compare.json").stat().st_mtime_ns
    assert evaluate("ablation", "sintel", out, *words) == 0
    assert (out / "sequences" / "alley_2" / "compare.json").stat().st_mtime_ns == before
