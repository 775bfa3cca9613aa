"""Killed wherever it touches the disk, the same command goes on and gives the same files.

A few points of many: ALIGN3R_KILL_POINTS=kind takes one of each kind, all takes all; both take
minutes, and print a table.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from killing import kind

from align3r.cli.main import main

TESTS = Path(__file__).resolve().parents[1]
CHOICE = os.environ.get("ALIGN3R_KILL_POINTS")
SMALL = ["--model", "geometric", "--size", "96", "--output.no-html", "-q"]
STEPS = ["--align.solver", "adam", "--align.steps", "40"]

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def killed_everywhere(
    tmp_path: Path, words: list[str], some: list[str], *, through: str, **more: Any
) -> list[dict[str, Any]]:
    """A row a kill point; every kill has to have come, and to be made good."""
    job = {
        "main": through,
        "words": words,
        "place": str(tmp_path / "place"),
        "choose": CHOICE or some,
        "ignored": [],
        **more,
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, str(TESTS / "killing.py"), str(tmp_path / "job.json")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    if CHOICE and sys.__stdout__:
        table = Counter(kind(row["label"]) for row in rows)
        sys.__stdout__.write(f"\n{words[0]}: {len(rows)} kill points\n")
        sys.__stdout__.writelines(f"| `{name}` | {count} |\n" for name, count in table.items())
    assert [row for row in rows if not row["killed"]] == []
    assert [row for row in rows if row["differs"]] == []
    return rows


def codes(rows: list[dict[str, Any]]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for row in rows:
        found.setdefault(row["resumed"], []).append(row["label"])
    return found


def test_reconstruct(two_films: Path, tmp_path: Path) -> None:
    out = tmp_path / "place" / "out"
    words = ["reconstruct", str(two_films / "a.mp4"), "-o", str(out), *SMALL, *STEPS]
    some = ["progress cameras", "open .out.cache/pairs.part", "rename .out.cache/align.part"]
    some += ["points.ply", "rename .out.part", "rmtree .out.cache"]
    rows = killed_everywhere(tmp_path, words, some, through="align3r.cli.main:main")
    # From the last rename on the result is there: the command says so, and ends with 2.
    finished = [row for row in rows if "out" in row["left"]]
    assert {row["resumed"] for row in finished} == {2} and len(finished) < len(rows) / 2
    assert {row["resumed"] for row in rows if row not in finished} == {0}


def test_export(two_films: Path, tmp_path: Path) -> None:
    result = tmp_path / "before" / "out"
    assert main(["reconstruct", str(two_films / "a.mp4"), "-o", str(result), *SMALL]) == 0
    out = tmp_path / "place" / "out"
    words = ["export", str(out), "--to", "tum", "ply", "glb", "colmap", "nerfstudio", "-q"]
    rows = killed_everywhere(
        tmp_path,
        words,
        [".ply", "transforms.json"],
        through="align3r.cli.main:main",
        before=str(tmp_path / "before"),
    )
    assert set(codes(rows)) == {0}


def test_batch(two_films: Path, tmp_path: Path) -> None:
    outs = tmp_path / "place" / "outs"
    words = ["batch", str(two_films / "*.mp4"), "-o", str(outs), *SMALL, *STEPS]
    some = [
        "outs/.batch.json.part",
        "rename outs/.batch",
        "rename outs/.b.part",
        "rmtree outs/.b.c",
    ]
    rows = killed_everywhere(
        tmp_path,
        words,
        some,
        through="batch_without_ray:main",
        ignored=["outs/logs"],
        imports=["align3r.pipeline", "align3r.view.folder", "align3r.cli.batch"],
    )
    assert set(codes(rows)) == {0}
