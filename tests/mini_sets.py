"""`align3r evaluate` on the tiny data sets of the golden tests."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from align3r.cli.main import main
from align3r.config import Options
from align3r.evaluate.one_sequence import Job, measure_here
from align3r.progress import as_report

SETS = Path(__file__).resolve().parent / "golden" / "evaluation" / "datasets"
GEOMETRIC = ["--model", "geometric"]


def sequences_of(out: Path) -> dict[str, dict[str, str]]:
    """The rows of sequences.csv, by the names of the sequences."""
    with (out / "sequences.csv").open(encoding="utf-8", newline="") as file:
        return {row["sequence"]: row for row in csv.DictReader(file)}


def evaluate(task: str, name: str, out: Path, *more: str, root: Path | None = None) -> int:
    """The exit code of an evaluation with the embedded model."""
    words = ["evaluate", task, "--dataset", name, "--root", str(root or SETS / name)]
    return main([*words, "-o", str(out), "-q", *GEOMETRIC, *more])


def measured(name: str, sequence: str, folder: Path, root: Path) -> dict[str, Any]:
    """What is written down about one sequence."""
    job = Job(name, root, sequence, Options(model="geometric"), folder)
    return dict(measure_here(job, as_report(False)))
