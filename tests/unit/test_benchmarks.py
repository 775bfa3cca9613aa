"""What the benchmark scripts share: running, measuring, tabulating."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from motion_world import world

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from measure import mean_row, run_measured, table
from own_masks import mask_iou, own_flows, own_masks


def test_time_memory_and_errors_are_those_of_the_command(tmp_path: Path) -> None:
    code = "import sys, time; x = bytearray(300_000_000); time.sleep(0.3); sys.exit('no luck')"
    big = run_measured([sys.executable, "-c", code], errors=tmp_path / "log")
    assert big.exit_code == 1
    assert big.errors.strip() == "no luck"
    assert 0.3 < big.seconds < 20
    assert 0.3 < big.peak_gb < 0.5
    ours = bytearray(b"x") * 500_000_000
    small = run_measured([sys.executable, "-c", "pass"], errors=tmp_path / "log")
    assert small.exit_code == 0
    assert small.peak_gb < 0.1, f"our own {len(ours)} bytes and earlier children must not count"


def test_table_has_a_row_each_and_dashes_for_what_is_missing() -> None:
    rows = [
        {"name": "a", "exit_code": 0, "seconds": 12.34, "ate_m": 0.0123, "mask_iou": 0.5},
        {"name": "b", "exit_code": 5, "seconds": 1.0},
        {"name": "c", "exit_code": 0, "seconds": 2.0, "ate_m": float("nan")},
    ]
    assert table(rows).splitlines() == [
        "| sequence | seconds | ATE cm | mask IoU |",
        "| --- | ---: | ---: | ---: |",
        "| a | 12.3 | 1.23 | 0.500 |",
        "| b (failed: exit code 5) | 1.0 | – | – |",
        "| c | 2.0 | – | – |",
    ]


def test_mean_leaves_out_what_failed() -> None:
    rows = [
        {"name": "a", "exit_code": 0, "seconds": 10.0, "ate_m": 0.01},
        {"name": "b", "exit_code": 3, "seconds": 0.1},
        {"name": "c", "exit_code": 0, "seconds": 20.0, "ate_m": 0.03},
    ]
    mean = mean_row(rows)
    assert mean == {"name": "mean", "seconds": 15.0, "ate_m": pytest.approx(0.02)}


def test_masks_and_valid_flow_are_found_and_not_given() -> None:
    w = world()
    assert mask_iou(own_masks(w.predictions, w.flows, 4), w.moving) > 0.9
    assert mask_iou(own_masks(w.predictions, w.flows, 4, solution=w.solution), w.moving) > 0.9
    found = own_flows(w.flows)
    assert not found.forward_valid[~w.flows.forward_valid].any(), "what leaves the image"
    # Whatever the square is about to hide does not come back to where it was.
    assert 0.3 < found.forward_valid.mean() < w.flows.forward_valid.mean()
    assert w.flows.forward_valid.dtype == found.backward_valid.dtype == np.bool_
