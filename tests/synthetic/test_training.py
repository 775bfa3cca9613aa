"""Fin3R for real, in short: a tiny network is better on rendered scenes that it has not seen.

`benchmarks/training.py` is the long version, long enough for edges to show.
"""

from __future__ import annotations

import dataclasses
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import training
from tiny_student import blurred

COARSE = dataclasses.replace(training.TINY, patch_size=8)
"""A quarter of the tokens."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    pytest.importorskip("accelerate", reason="needs the extra [train]")
    pytest.importorskip("peft", reason="needs the extra [train]")
    work = tmp_path_factory.mktemp("training")
    words = "--kinds living_room store_static --seeds 3 --frames 4 --held-out 8 --batch 12"
    words += f" --base-steps 140 --blur-steps 15 --steps 70 --renorms none --work {work}"
    args = training.arguments(words.split())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "TINY", COARSE)
        return {row["name"]: row for row in training.run(args)}


def test_each_training_does_its_work(rows: dict[str, Any]) -> None:
    base, coarse, taught = rows.values()
    assert base["loss_after"] < base["loss_before"] / 2
    assert base["abs_rel_after"] < base["abs_rel_before"] / 2
    assert taught["loss_after"] < taught["loss_before"]
    assert taught["abs_rel_after"] < taught["abs_rel_before"]
    assert taught["delta1_after"] > taught["delta1_before"]
    # Each starts where the one before has ended.
    for before, after in ((base, coarse), (coarse, taught)):
        assert after["abs_rel_before"] == pytest.approx(before["abs_rel_after"], rel=1e-3)


def test_all_but_the_adapters_is_as_it_was(rows: dict[str, Any]) -> None:
    assert [row.get("frozen") for row in rows.values()] == [None, None, True]


def test_peft_computes_the_same(rows: dict[str, Any]) -> None:
    (apart,) = (row["peft_apart"] for row in rows.values() if "peft_apart" in row)
    assert apart < 1e-4


def test_the_table_has_a_line_each(rows: dict[str, Any]) -> None:
    lines = training.table(list(rows.values())).splitlines()
    assert len(lines) == 2 + len(rows)
    assert all(line.count("|") == lines[0].count("|") for line in lines)


def test_what_is_blurred_keeps_its_mean_and_its_holes() -> None:
    depth = 1 / torch.rand(1, 2, 16, 24, generator=torch.Generator().manual_seed(0)).add(0.5)
    flat = torch.full((1, 2, 16, 24), 3.0)
    torch.testing.assert_close(blurred(flat, 8), flat)
    assert blurred(depth, 1) is depth
    depth[..., :2, :] = torch.nan
    found = blurred(depth, 8)
    assert torch.equal(found.isnan(), depth.isnan())
    assert float((1 / found).nan_to_num().diff(dim=-1).abs().max()) < 0.3
    assert isinstance(training.arguments([]), Namespace)
