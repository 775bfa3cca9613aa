"""Run the real command line as a person would, and put what it cost and reached into a table."""

from __future__ import annotations

import ctypes
import gc
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import align3r
from align3r.datasets.truth import Truth
from align3r.evaluate.score import score
from align3r.meanwhile import now_and_then

# Heading, key of the row, factor, digits.
COLUMNS: list[tuple[str, str, float, int]] = [
    ("frames", "frames", 1, 0),
    ("seconds", "seconds", 1, 1),
    ("peak GB", "peak_gb", 1, 2),
    ("ATE cm", "ate_m", 100, 2),
    ("ATE % of path", "ate_percent", 1, 2),
    ("RPE cm", "rpe_trans_m", 100, 2),
    ("RPE deg", "rpe_rot_deg", 1, 2),
    ("focal error %", "focal_error_percent", 1, 1),
    ("AbsRel", "abs_rel", 1, 3),
    ("δ<1.25", "delta1", 1, 3),
    ("AbsRel static", "abs_rel_static", 1, 3),
    ("AbsRel moving", "abs_rel_moving", 1, 3),
    ("mask IoU", "mask_iou", 1, 3),
]


def give_back_heap() -> None:
    """Have freed memory leave the process, or what is measured next gets it for nothing."""
    gc.collect()
    getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)(0)


class PeakMemory:
    """Largest memory of this process seen while a block runs, above what it had before (Linux)."""

    def __init__(self, *, files: bool) -> None:
        """With `files`, pages of mapped files count too."""
        self._field = "VmRSS" if files else "RssAnon"
        self.megabytes = 0.0

    @contextmanager
    def watch(self) -> Iterator[None]:
        give_back_heap()
        before = self._now()

        def look() -> None:
            self.megabytes = max(self.megabytes, self._now() - before)

        with now_and_then(look, every_s=0.01):
            yield

    def _now(self) -> float:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        return int(fields[self._field].split()[0]) * 1024 / 1e6


@dataclass(frozen=True)
class Cost:
    """What a command took."""

    exit_code: int
    seconds: float
    peak_gb: float
    """Largest resident memory of the process, 10^9 bytes."""
    errors: str
    """What it wrote to standard error."""


def run_measured(command: list[str], *, errors: Path) -> Cost:
    """Run a command to its end; its standard error goes to a file on the way."""
    with errors.open("wb") as log:
        through = [sys.executable, str(Path(__file__).with_name("peak.py")), *command]
        done = subprocess.run(through, stdout=subprocess.PIPE, stderr=log, check=True)
    text = errors.read_text(encoding="utf-8", errors="replace")
    return Cost(**json.loads(done.stdout), errors=text)


def reconstruct_and_score(
    source: Path, out: Path, truth: Truth, *, extra: list[str]
) -> dict[str, Any]:
    """One row: `align3r reconstruct source -o out`, its cost and its score.

    A command that fails gives a row with its exit code and the end of what it said.
    """
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    # The command of the interpreter that runs the benchmark, whatever else is on the path.
    program = str(Path(sys.executable).with_name("align3r"))
    command = [program, "reconstruct", str(source), "-o", str(out), *extra]
    cost = run_measured(command, errors=out.with_name(f"{out.name}.log"))
    row: dict[str, Any] = {
        "command": " ".join(["align3r", *command[1:]]),
        "exit_code": cost.exit_code,
        "seconds": cost.seconds,
        "peak_gb": cost.peak_gb,
    }
    if cost.exit_code != 0:
        return {**row, "errors": cost.errors[-2000:]}
    return {**row, **score(align3r.load(out), truth)}


def table(rows: list[dict[str, Any]], *, first: str = "sequence") -> str:
    """Markdown; columns that no row has are left out, a missing figure is a dash."""
    columns = [column for column in COLUMNS if any(column[1] in row for row in rows)]
    lines = [[first, *(heading for heading, *_ in columns)], ["---", *["---:"] * len(columns)]]
    for row in rows:
        name = str(row["name"])
        if row.get("exit_code"):
            name += f" (failed: exit code {row['exit_code']})"
        lines.append([name, *(_cell(row.get(key), f, d) for _, key, f, d in columns)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def mean_row(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean of every figure over the rows that did not fail."""
    good = [row for row in rows if not row.get("exit_code")]
    keys = [key for _, key, *_ in COLUMNS if good and all(key in row for row in good)]
    return {"name": "mean", **{key: float(np.mean([row[key] for row in good])) for key in keys}}


def write_json(rows: list[dict[str, Any]], path: Path) -> None:
    """The rows, and the machine they were measured on."""
    about = {
        "align3r": align3r.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": os.cpu_count(),
        "rows": rows,
    }
    path.write_text(json.dumps(about, indent=1), encoding="utf-8")


def report(rows: list[dict[str, Any]], path: Path, *, first: str) -> int:
    """Print the table and what went wrong, write the JSON; the exit code for the script."""
    print(table(rows, first=first))
    write_json(rows, path)
    failed = [row for row in rows if row.get("exit_code")]
    for row in failed:
        print(f"\n{row['name']}: {row['command']}\n{row['errors']}", file=sys.stderr)
    return 1 if failed else 0


def _cell(value: float | None, factor: float, digits: int) -> str:
    return "–" if value is None or not np.isfinite(value) else f"{factor * value:.{digits}f}"
