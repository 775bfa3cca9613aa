"""A training of a tiny task: `python tests/tiny_training.py OUT '{"steps": 6}'` runs one.

Besides the options of the loop, the JSON may hold steps after which something happens: `die`, the
process kills itself, `fail`, the data do, `interrupt`, it is sent a signal, `interrupt_and_fail`,
both; and `poison`, the name of a sample that is nan.
"""

from __future__ import annotations

import json
import math
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from align3r.progress import Report
from align3r.train.common_options import LoopOptions
from align3r.train.loop import Interrupted, train
from align3r.train.task import Feed, Steps

SAMPLES, WIDTH = 16, 5
OPTIONS = LoopOptions(
    steps=8,
    effective_batch=8,
    warmup_epochs=0.5,
    learning_rate=0.05,
    weight_decay=0.01,
    save_every=2,
    log_every=2,
    validate_every=4,
    image_every=4,
    workers=0,
    device="cpu",
    precision="fp32",
)


@dataclass(frozen=True)
class Numbers:
    """Two samples of a line, of two views each."""

    x: Tensor
    y: Tensor
    names: tuple[tuple[str, ...], ...]
    weight: float

    def to(self, device: Any) -> Numbers:
        return replace(self, x=self.x.to(device), y=self.y.to(device))


class Line(nn.Module):
    """Learns a line, with noise that only a seed can repeat, and something frozen."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(3)
        self.first, self.second = (
            nn.utils.skip_init(nn.Linear, *sizes) for sizes in ((WIDTH, 7), (7, 1))
        )
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.unused = nn.Parameter(torch.ones(2))
        self.frozen = nn.Parameter(torch.ones(1), requires_grad=False)
        self.shown: list[Tensor] = []

    def trained(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.named_parameters() if p.requires_grad}

    def forward(self, batch: Numbers) -> dict[str, Tensor]:
        noise = 0.01 * torch.randn(batch.x.shape, device=batch.x.device)
        error = self.second(self.first(batch.x + noise).tanh())[..., 0].float() - batch.y
        part = error.abs().mean() if "0" in batch.names[0][0] else error.new_tensor(math.nan)
        return {"loss": error.square().mean() * self.frozen[0], "part": part}

    def pictures(self, batch: Numbers) -> dict[str, np.ndarray]:
        return {"x": np.full((4, 6, 3), 128, np.uint8)}

    def validate(self, report: Report) -> dict[str, float]:
        x = torch.linspace(-1, 1, WIDTH)[None]
        report("validation", 1, 1)
        self.shown.append(self.second.weight.detach().clone())
        return {"error": float(self.second(self.first(x).tanh()).abs())}

    def save(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        save_file({n: p.detach().clone() for n, p in self.named_parameters()}, folder / "x.st")


def batch(step: int, micro: int, poison: str = "") -> Numbers:
    """The batches of a step depend on its number alone, and are not all of one size."""
    rng = np.random.default_rng([step, micro])
    x = torch.from_numpy(rng.normal(size=(1 + micro % 2, 2, WIDTH)).astype(np.float32))
    names = tuple(
        tuple(f"line/{step}/{micro}/{k}{view}" for view in range(2)) for k in range(len(x))
    )
    y = x.sum(-1).clone()
    for at, views in enumerate(names):
        if poison in views:
            y[at] = math.nan
    return Numbers(x, y, names, len(x) / 7)


def feed(**wanted: Any) -> Feed:
    def steps(first: int, rank: int, world: int) -> Steps:
        for step in range(first, 10_000):
            if step == wanted.get("die"):
                os.kill(os.getpid(), signal.SIGKILL)
            if step == wanted.get("fail"):
                raise ZeroDivisionError
            if step == wanted.get("interrupt_and_fail"):
                os.kill(os.getpid(), signal.SIGTERM)
                raise RuntimeError("a reader was killed by signal: Terminated")
            if step == wanted.get("interrupt"):
                os.kill(os.getpid(), wanted.get("signal", signal.SIGINT))
            found: Sequence[Numbers] = [batch(step, micro) for micro in range(5)]
            if "poison" in wanted:
                found = [batch(step, micro, wanted["poison"]) for micro in range(5)]
            yield step, found[rank::world]

    return Feed(SAMPLES, steps)


def learn(out: Path, *, task: Line | None = None, resume: bool = False, **wanted: Any) -> Line:
    """Train a line; what is no option of the loop is for the feed."""
    names = {field.name for field in fields(LoopOptions)}
    options = replace(OPTIONS, **{k: v for k, v in wanted.items() if k in names})
    task = task or Line()
    train(task, feed(**wanted), options, out, resume=resume)
    return task


if __name__ == "__main__":
    torch.set_num_threads(1)
    try:
        learn(Path(sys.argv[1]), **json.loads(sys.argv[2]))
    except Interrupted:
        sys.exit(130)
