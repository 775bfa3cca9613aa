"""Training on a GPU: it learns what a CPU learns, in every precision, and goes on where it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_training import learn

from align3r.train.record import read_log

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")


def losses(out: Path) -> list[float]:
    return [line["loss"] for line in read_log(out / "log.jsonl") if "loss" in line]


# Each device draws noise of its own; fp16 leaves out steps until the scale of the loss is found.
@pytest.mark.parametrize(("precision", "near"), [("fp32", 0.05), ("bf16", 0.05), ("fp16", 0.5)])
def test_it_learns_as_on_the_cpu(tmp_path: Path, precision: str, near: float) -> None:
    learn(tmp_path / "cpu")
    out = tmp_path / "gpu"
    learn(out, device="cuda", precision=precision, ema=0.9)
    assert losses(out) == pytest.approx(losses(tmp_path / "cpu"), rel=near)
    assert read_log(out / "log.jsonl")[1]["device_memory_gb"] >= 0
    before = losses(out)
    (out / "checkpoints" / "step_00000008" / "checkpoint.json").unlink()
    learn(out, device="cuda", precision=precision, ema=0.9, resume=True)
    assert losses(out) == pytest.approx(before, rel=1e-3)
