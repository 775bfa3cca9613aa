"""A whole training of Fin3R on rendered scenes: `python benchmarks/training.py`.

What Fin3R mends is made first, in small: a tiny DUSt3R is trained from scratch on exact depth, then
its encoder alone goes on with depth that has no detail, as that of many sensors, and loses what it
knew of edges. Decoder and heads have not forgotten. From there, adapters in the encoder learn from
exact depth, and nothing else does. All trainings run in the loop of the command. What is held out
are scenes of the same kinds, built and furnished by other random numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import write_json
from tiny_student import CELL, TINY, PairTask, random_network
from torch import nn

from align3r.models.adapter_file import apply_adapter
from align3r.models.loading import load_pair_network
from align3r.models.lora import Renorm
from align3r.progress import Report
from align3r.train.data.batches import Batches
from align3r.train.data.crops import CropSettings
from align3r.train.data.loader import loader
from align3r.train.data.mixture import Mixture
from align3r.train.data.shares import Share
from align3r.train.data.sources import Source
from align3r.train.data.values import SourceView
from align3r.train.fin3r import Fin3rTask
from align3r.train.labels import make_labels
from align3r.train.loop import train
from align3r.train.lora import frozen_digest
from align3r.train.options import Fin3rOptions, LoopOptions, LoraOptions, TeacherOptions
from align3r.train.record import read_log
from align3r.train.task import Feed
from align3r.train.validation import MEASURED, own_depth, validate

SIZE = (64, 48)


@dataclasses.dataclass(frozen=True)
class Scenes:
    """Rendered sequences; they are rendered when they are first asked for."""

    root: Path
    seeds: int
    """So many of each kind are trained on; seed 0 is held out."""
    frames: int
    """Of each."""
    patterns: tuple[str, ...]
    """Of names of kinds."""
    held_out_views: int

    def source(self, *, held_out: bool) -> Source:
        """All sequences of one of the two uses."""
        seeds = (0,) if held_out else range(1, self.seeds + 1)
        settings = {"size": SIZE, "frames": self.frames, "seeds": seeds}
        patterns = self.patterns if held_out else tuple(f"{p}/*" for p in self.patterns)
        return Source(Share("rendered", self.root, None, patterns), settings=settings)

    def validation(self) -> Callable[[nn.Module, Report], dict[str, float]]:
        """Measures a network on what is held out."""
        frames = partial(self.source(held_out=True).evenly, self.held_out_views)
        return partial(_validate, {"rendered": frames})

    def feed(self, *, lengths: tuple[int, ...], labelled: Any, batch: int) -> Feed:
        """Batches to train on: each step has samples of one length."""
        source = self.source(held_out=False)
        mixture = Mixture(
            samples=(1000,),
            singles=(False,),
            sizes=(SIZE,),
            lengths=lengths,
            effective_batch=batch,
            views_a_batch=2 * batch,
            seed=0,
        )
        crops = CropSettings(offset=8, zoom=1.3)
        batches = Batches([source], mixture, crops=crops, labelled=labelled)
        return Feed(
            mixture.epoch,
            lambda first, rank, world: loader(batches, first, rank=rank, world=world),
        )


def _validate(
    held_out: Mapping[str, Callable[[], Iterable[SourceView]]], network: nn.Module, report: Report
) -> dict[str, float]:
    return validate(network, held_out, report, long_side=max(SIZE))


def loop(args: argparse.Namespace, steps: int, rate: float) -> LoopOptions:
    """What both trainings have in common."""
    return LoopOptions(
        steps=steps,
        effective_batch=args.batch,
        learning_rate=rate,
        least_rate=rate / 100,
        warmup_epochs=0.1 * steps * args.batch / 1000,
        precision="fp32",
        activation_checkpointing=False,
        save_every=max(steps // 2, 1),
        log_every=max(steps // 20, 1),
        validate_every=max(steps // 4, 1),
        image_every=0,
        workers=0,
        device="cpu",
    )


def pretrain(args: argparse.Namespace, scenes: Scenes) -> tuple[Path, list[dict[str, Any]]]:
    """The network that Fin3R starts from, and its two trainings."""
    rows = []
    network = random_network(TINY)
    for name, learns, cell, steps in (
        ("from scratch, exact depth", ("",), 1, args.base_steps),
        ("its encoder, depth without detail", ("patch_embed", "enc_"), CELL, args.blur_steps),
    ):
        out = args.work / f"base-{cell}"
        shutil.rmtree(out, ignore_errors=True)
        task = PairTask(network, scenes.validation(), learns=learns, cell=cell)
        feed = scenes.feed(lengths=(2,), labelled=None, batch=args.batch)
        result = train(task, feed, loop(args, steps, args.base_rate), out, progress=True)
        rows.append(row(name, read_log(out / "log.jsonl")))
    return result, rows


def fine_tune(args: argparse.Namespace, scenes: Scenes, base: Path, renorm: Renorm) -> Any:
    """Fin3R on the base network: where its adapters are, its log, and whether it kept the rest."""
    out = args.work / f"fin3r-{renorm}"
    shutil.rmtree(out, ignore_errors=True)
    options = Fin3rOptions(
        weights=str(base),
        lora=LoraOptions(alpha=args.alpha, renorm=renorm),
        teacher=TeacherOptions(model="truth"),
        loop=loop(args, args.steps, args.rate),
    )
    task = Fin3rTask.from_options(options, validation=scenes.validation())
    labelled = make_labels(options.teacher, out / "labels", device=torch.device("cpu"))
    # Mostly single images, as in the paper, and pairs for what is replayed.
    feed = scenes.feed(lengths=(1, 1, 1, 2), labelled=labelled, batch=args.batch)
    before = frozen_digest(task.network)
    result = train(task, feed, options.loop, out, run=options, progress=True)
    return result, read_log(out / "log.jsonl"), frozen_digest(task.network) == before


def with_peft(base: Path, adapter: Path) -> nn.Module:
    """The base network with an adapter that the library peft has put on it."""
    from peft import PeftModel

    wrapped = PeftModel.from_pretrained(load_pair_network(base), str(adapter))
    network: nn.Module = wrapped.merge_and_unload()
    return network.eval()


def farthest_apart(base: Path, adapter: Path, views: Iterable[SourceView]) -> float:
    """Largest relative difference of depth between peft's network and ours."""
    ours, theirs = load_pair_network(base), with_peft(base, adapter)
    apply_adapter(ours, adapter)
    worst = 0.0
    for view in views:
        a, b = (own_depth(network, view, max(SIZE)) for network in (ours, theirs))
        worst = max(worst, float(np.abs(a / b - 1).max()))
    return worst


def row(name: str, log: list[dict[str, Any]]) -> dict[str, Any]:
    """A training in numbers: its loss at the start and the end, and metrics before and after."""
    # Replay is there in some steps and not in others, so the whole loss goes up and down.
    losses = [line.get("distillation", line["loss"]) for line in log if "loss" in line]
    measured = [line["validation"] for line in log if "validation" in line]
    metrics = {
        f"{metric}_{when}": measured[at][f"rendered/{metric}"]
        for metric in MEASURED
        for when, at in (("before", 0), ("after", -1))
    }
    pace = [line["samples_per_second"] for line in log if "samples_per_second" in line]
    return {
        "name": name,
        "loss_before": losses[0],
        "loss_after": losses[-1],
        **metrics,
        "samples_per_second": float(np.median(pace)),
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| training | loss | Abs Rel | δ<1.25 | boundary F1 | the rest is as it was | samples/s |",
        "| --- |" + " ---: |" * 6,
    ]
    for r in rows:
        cells = [r["name"]]
        for key in ("loss", "abs_rel", "delta1", "boundary_f1"):
            cells.append(f"{r[f'{key}_before']:.3f} → {r[f'{key}_after']:.3f}")
        cells += [{True: "yes", False: "no", None: "–"}[r.get("frozen")]]
        lines.append(f"| {' | '.join([*cells, format(r['samples_per_second'], '.1f')])} |")
    return "\n".join(lines)


def run(args: argparse.Namespace) -> list[dict[str, Any]]:
    """All trainings, one row each."""
    root = args.work / "scenes"
    root.mkdir(parents=True, exist_ok=True)
    scenes = Scenes(root, args.seeds, args.frames, tuple(args.kinds), args.held_out)
    base, rows = pretrain(args, scenes)
    for renorm in args.renorms:
        adapter, log, frozen = fine_tune(args, scenes, base, renorm)
        rows.append({**row(f"Fin3R, re-normalised: {renorm}", log), "frozen": frozen})
        if renorm == "none":
            views = scenes.source(held_out=True).evenly(5)
            rows[-1]["peft_apart"] = farthest_apart(base, adapter, views)
    return rows


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=["*"], help="patterns of scenes")
    parser.add_argument("--seeds", type=int, default=4, help="scenes of each kind to train on")
    parser.add_argument("--frames", type=int, default=6, help="of each scene")
    parser.add_argument("--held-out", type=int, default=52, help="images to validate on")
    parser.add_argument("--base-steps", type=int, default=300)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--blur-steps", type=int, default=40)
    parser.add_argument("--base-rate", type=float, default=1e-3)
    parser.add_argument("--rate", type=float, default=5e-3, help="learning rate of the adapters")
    parser.add_argument("--alpha", type=float, default=32.0, help="of the adapters, of rank 8")
    parser.add_argument(
        "--renorms", nargs="+", default=["feature", "none"], help="see --lora.renorm"
    )
    parser.add_argument("--work", type=Path, default=Path("out/benchmarks/training"))
    parser.add_argument("--json", type=Path, default=Path("out/benchmarks/training.json"))
    return parser.parse_args(words)


def main() -> int:
    args = arguments()
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.WARNING)
    start = time.perf_counter()
    rows = run(args)
    print(table(rows))
    for r in rows:
        if "peft_apart" in r:
            print(f"depth of {r['name']} by peft: {r['peft_apart']:.1e} apart at the most")
    print(f"{time.perf_counter() - start:.0f} s with rendering")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    write_json(rows, args.json)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
