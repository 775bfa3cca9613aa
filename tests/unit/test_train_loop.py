"""The training loop: the same numbers whoever computes them and however often it is interrupted."""

from __future__ import annotations

import json
import logging
import math
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tiny_training import OPTIONS, Line, batch, feed, learn
from torch import Tensor

from align3r.errors import InputError, MissingExtraError, SolveError, UsageError
from align3r.models import adapter_file, checkpoint
from align3r.train.averaging import Average
from align3r.train.common_options import LoopOptions
from align3r.train.loop import Interrupted, train
from align3r.train.processes import Processes
from align3r.train.record import read_log
from align3r.train.run_folder import RESULT_FILES, open_folder
from align3r.train.schedule import learning_rate
from align3r.train.task import Feed

PROGRAM = Path(__file__).parents[1] / "tiny_training.py"
TIMED = ("samples_per_second", "memory_gb", "device_memory_gb")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nobody disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    learn(out)
    return out


def start(out: Path, *, env: dict[str, str] | None = None, **wanted: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(out), json.dumps(wanted)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        stderr=subprocess.PIPE,
        text=True,
    )


def curve(out: Path) -> list[dict[str, Any]]:
    """The log without what depends on the machine."""
    return [
        {k: v for k, v in line.items() if k not in TIMED} for line in read_log(out / "log.jsonl")
    ]


def learned(out: Path) -> dict[str, Tensor]:
    return load_file(out / "result" / "x.st")


def saved(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "checkpoints").iterdir())


def assert_same(out: Path, other: Path) -> None:
    """The same curve and the same parameters, to the bit."""
    assert curve(out) == curve(other)
    found, expected = learned(out), learned(other)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_it_is_adamw_on_the_mean_over_the_samples_of_a_step(tmp_path: Path) -> None:
    """The same training in a few lines: no noise, one big batch a step."""
    options = replace(OPTIONS, validate_every=0, image_every=0, log_every=1, clip=5.0)

    class Quiet(Line):
        def forward(self, batch: Any) -> dict[str, Tensor]:
            error = self.second(self.first(batch.x).tanh())[..., 0] - batch.y
            return {"loss": error.square().mean()}

    task, plain = Quiet(), Quiet()
    train(task, feed(), options, tmp_path / "run")
    matrices, vectors = (
        [p for p in plain.trained().values() if (p.ndim > 1) is wanted] for wanted in (True, False)
    )
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.01}, {"params": vectors, "weight_decay": 0.0}],
        betas=(0.9, 0.95),
    )
    losses, norms = [], []
    for step in range(8):
        parts = [batch(step, micro) for micro in range(5)]
        x, y = torch.cat([p.x for p in parts]), torch.cat([p.y for p in parts])
        loss = plain(replace(parts[0], x=x, y=y))["loss"]
        plain.unused.grad = torch.zeros(2)
        loss.backward()
        norms.append(torch.nn.utils.clip_grad_norm_(plain.trained().values(), 5.0).item())
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, options, 16)
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    lines = curve(tmp_path / "run")
    assert [line["loss"] for line in lines] == pytest.approx(losses, rel=1e-5)
    assert [line["gradient_norm"] for line in lines] == pytest.approx(norms, rel=1e-4)
    assert min(norms) < 5 < max(norms), "clipping is not tried"
    assert losses[-1] < 0.5 * losses[0]
    for name, value in plain.named_parameters():
        torch.testing.assert_close(task.get_parameter(name), value, rtol=1e-4, atol=1e-6)


def test_two_processes_learn_what_one_does(whole: Path, tmp_path: Path) -> None:
    """They are interrupted after six steps, and one of them does the last two."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    out = tmp_path / "run"
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    both = [
        start(out, env={**together, "RANK": str(rank), "LOCAL_RANK": str(rank)}, interrupt=5)
        for rank in (0, 1)
    ]
    for process in both:
        _, words = process.communicate(timeout=120)
        assert process.returncode == 130, words
    assert saved(out)[-1] == "step_00000006" and curve(out)[-1]["step"] == 6
    learn(out, resume=True)
    lines, expected = curve(out), curve(whole)
    assert len(lines) == len(expected)
    for line, wanted in zip(lines, expected, strict=True):
        assert line.keys() == wanted.keys()
        for name, value in line.items():
            assert value == pytest.approx(wanted[name], rel=1e-5), name
    for name, value in learned(whole).items():
        torch.testing.assert_close(learned(out)[name], value, rtol=1e-4, atol=1e-6)


def test_killed_and_resumed_is_as_never_killed(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert start(out, die=5).wait(120) == -signal.SIGKILL
    assert not (out / "result").exists() and curve(out)[-1]["step"] == 4
    learn(out, resume=True)
    assert_same(out, whole)


@pytest.mark.parametrize("step", [0, 1, 2, 7])
def test_what_failed_and_is_resumed_is_as_if_it_never_had(
    whole: Path, tmp_path: Path, step: int
) -> None:
    out = tmp_path / "run"
    with pytest.raises(ZeroDivisionError):
        learn(out, fail=step)
    learn(out, resume=True)
    assert_same(out, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_ends(whole: Path, tmp_path: Path, number: int) -> None:
    out = tmp_path / "run"
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match="saved after step 4 of 8"):
        learn(out, interrupt=3, signal=number)
    assert signal.getsignal(number) is before
    assert saved(out)[-1] == "step_00000004"
    learn(out, resume=True)
    assert_same(out, whole)


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    class Slow(Line):
        def forward(self, batch: Any) -> dict[str, Tensor]:
            os.kill(os.getpid(), signal.SIGINT)
            return super().forward(batch)

    with pytest.raises(KeyboardInterrupt) as caught:
        learn(tmp_path / "run", task=Slow(), interrupt=1)
    assert not isinstance(caught.value, Interrupted)


def test_the_caller_keeps_its_random_numbers_and_its_seed_decides_ours(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = learn(tmp_path / "a", steps=3)
    assert torch.equal(torch.rand(3), expected)
    again, other = learn(tmp_path / "b", steps=3), learn(tmp_path / "c", steps=3, seed=1)
    assert torch.equal(first.first.weight, again.first.weight)
    assert not torch.equal(first.first.weight, other.first.weight)


def test_what_is_logged(whole: Path) -> None:
    lines = read_log(whole / "log.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [2, 4, 6, 8]
    assert [line["step"] for line in lines if "validation" in line] == [0, 4, 8]
    first = next(line for line in lines if "loss" in line)
    assert first["epoch"] == 1 and first["learning_rate"] == 0.05
    assert first["samples_per_second"] > 0 and first["memory_gb"] > 0
    # Only some batches have this one; the others, in which it is nan, do not count.
    assert math.isfinite(first["part"])
    board = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = board.EventAccumulator(str(whole / "tensorboard"))
    events.Reload()
    losses = [event.value for event in events.Scalars("training/loss")]
    assert losses == pytest.approx([line["loss"] for line in lines if "loss" in line])
    assert [event.step for event in events.Scalars("validation/error")] == [0, 4, 8]
    assert [event.step for event in events.Images("x")] == [4, 8]


def test_a_loss_that_is_not_finite_names_its_samples_and_spoils_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(
        SolveError, match="line/5/3/10, line/5/3/11 is not finite in step 6"
    ) as told:
        learn(out, poison="line/5/3/11")
    assert "line/5/2" not in str(told.value) and told.value.hint
    assert saved(out) == ["step_00000002", "step_00000004"]
    assert learn(out, resume=True).second.weight.isfinite().all()


def test_a_process_ends_when_another_cannot_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others' part of a sum says of one batch that its loss is not finite."""

    def sum_with_other(_: Processes, values: Tensor) -> Tensor:
        other = torch.zeros_like(values)
        if values.ndim:
            other[-1] = 1
        return values + other

    monkeypatch.setattr(Processes, "sum", sum_with_other)
    with pytest.raises(SolveError, match="loss in another process is not finite in step 1"):
        learn(tmp_path / "run")


def test_a_gradient_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    class Steep(Line):
        def forward(self, batch: Any) -> dict[str, Tensor]:
            losses = super().forward(batch)
            return {**losses, "loss": losses["loss"] + (self.unused[0] - 1).abs().sqrt()}

    task = Steep()
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    with pytest.raises(SolveError, match="gradient of step 1"):
        learn(tmp_path / "run", task=task)
    assert all(torch.equal(p, before[name]) for name, p in task.named_parameters())


@dataclass(frozen=True)
class Outer:
    """All options of some run."""

    name: str = "a"
    cache: str = field(default="x", metadata={"free": True})
    pair: tuple[int, ...] = (1, 2)
    loop: LoopOptions = OPTIONS


def test_other_options_are_refused_and_the_first_is_named(tmp_path: Path) -> None:
    out, options = tmp_path / "run", replace(OPTIONS, steps=2)
    outer = Outer(loop=options)
    train(Line(), feed(), options, out, run=outer)
    for wrong, words in (
        (replace(outer, name="b"), '--name "a", not "b"'),
        (replace(outer, pair=(1, 3)), r"--pair \[1, 2\], not \[1, 3\]"),
        (replace(outer, loop=replace(options, weight_decay=0.5)), "decay 0.01, not 0.5"),
        (replace(outer, loop=replace(options, ema=0.9)), "--loop.ema null, not 0.9"),
        (options, "--epochs null, not 10.0"),
    ):
        with pytest.raises(UsageError, match=words):
            train(Line(), feed(), options, out, run=wrong, resume=True)
    free = replace(outer, cache="y", loop=replace(options, keep=1, log_every=1, workers=0))
    train(Line(), feed(), free.loop, out, run=free, resume=True)
    assert json.loads((out / "options.json").read_text())["options"]["cache"] == "y"


def test_what_helps_when_it_diverges_may_change_and_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    with pytest.raises(SolveError) as told:
        learn(out, poison="line/5/3/11", precision="bf16")
    assert all(f"--loop.{name}" in told.value.hint for name in ("precision", "learning", "clip"))
    other: dict[str, Any] = {"learning_rate": 0.01, "least_rate": 1e-7, "clip": 0.5}
    with caplog.at_level(logging.WARNING):
        learn(out, resume=True, precision="fp16", **other)
    said = [line for line in caplog.messages if "from here on" in line]
    assert said == [
        "--learning-rate was 0.05, and is 0.01 from here on",
        "--least-rate was 1e-06, and is 1e-07 from here on",
        "--clip was 1.0, and is 0.5 from here on",
        '--precision was "bf16", and is "fp16" from here on',
    ]
    rates = [line["learning_rate"] for line in curve(out) if "loss" in line]
    assert min(rates[:2]) > 0.01 > max(rates[2:])
    caplog.clear()
    learn(out, resume=True, precision="fp16", **other)
    assert "from here on" not in caplog.text


def test_what_is_not_trained_is_as_it_was(tmp_path: Path) -> None:
    learn(tmp_path / "run", steps=2)
    task = Line()
    task.frozen.data += 1e-6
    with pytest.raises(InputError, match="what is not trained of the network is not as it was"):
        learn(tmp_path / "run", task=task, steps=2, resume=True)


class Nothing(Line):
    """Learns in its first batch, at most."""

    learns_at_first = False

    def __init__(self) -> None:
        super().__init__()
        self.batches = 0

    def forward(self, batch: Any) -> dict[str, Tensor]:
        losses = super().forward(batch)
        self.batches += 1
        learns = self.learns_at_first and self.batches == 1
        return {**losses, "loss": losses["loss"] * float(learns)}


@pytest.mark.parametrize(("steps", "last"), [(3, 3), (30, 10)])
def test_a_training_in_which_nothing_is_learned_ends(tmp_path: Path, steps: int, last: int) -> None:
    with pytest.raises(SolveError, match=f"in all of the last {last} steps") as told:
        learn(tmp_path / "run", task=Nothing(), steps=steps, log_every=1)
    assert "labels" in told.value.hint and not (tmp_path / "run" / "result").exists()


def test_what_has_learned_before_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    task = Nothing()
    task.learns_at_first = True
    with caplog.at_level(logging.WARNING):
        learn(tmp_path / "run", task=task, steps=24)
    assert caplog.text.count("nothing is learned") == 1


def test_readers_that_end_at_the_same_wish_cost_nothing(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted, match="saved after step 3 of 8"):
        learn(out, interrupt_and_fail=3)
    assert saved(out)[-1] == "step_00000003"
    learn(out, resume=True)
    assert_same(out, whole)


def test_one_that_is_stopped_before_its_first_step_is_gone_on_with(
    whole: Path, tmp_path: Path
) -> None:
    with pytest.raises(Interrupted, match="saved after step 0 of 8"):
        learn(tmp_path / "run", interrupt_and_fail=0)
    learn(tmp_path / "run", resume=True)
    assert_same(tmp_path / "run", whole)


def test_what_the_feed_refuses_is_refused_before_anything_is_validated(tmp_path: Path) -> None:
    def refuse(first: int, rank: int, world: int) -> Any:
        raise UsageError("too few", hint="more")

    task = Line()
    with pytest.raises(UsageError, match="too few"):
        train(task, Feed(16, refuse), OPTIONS, tmp_path / "run")
    assert not task.shown


@dataclass(frozen=True)
class Fin3rOptions:
    """A kind of which it is known what is in its results."""

    loop: LoopOptions = OPTIONS


@pytest.mark.parametrize("name", ["", "mine.txt"])
def test_what_the_result_would_not_replace_is_found_before_the_first_step(
    tmp_path: Path, name: str
) -> None:
    options = replace(OPTIONS, steps=2)
    run, out = Fin3rOptions(options), tmp_path / "run"
    open_folder(out, run, resume=False)
    if name:
        (out / "result").mkdir()
    (out / "result" / name).touch()
    with pytest.raises(UsageError, match=f"{name or 'it'} is no result"):
        train(Line(), feed(), options, out, run=run, resume=True)
    assert not (out / "log.jsonl").exists()


def test_the_files_of_results_are_those_that_are_saved() -> None:
    assert RESULT_FILES == {
        "Fin3rOptions": {adapter_file.CONFIG, adapter_file.TENSORS},
        "Align3rOptions": {checkpoint.CONFIG, checkpoint.TENSORS},
    }


def test_a_folder_is_used_for_one_training(tmp_path: Path) -> None:
    out = tmp_path / "run"
    learn(out, steps=2)
    before = curve(out)
    with pytest.raises(UsageError, match="holds a training"):
        learn(out, steps=2)
    # Resumed when all is done, it writes the result once more.
    (out / "result" / "x.st").unlink()
    learn(out, steps=2, resume=True)
    assert learned(out) and curve(out) == before
    other = tmp_path / "photos"
    other.mkdir()
    (other / "me.jpg").touch()
    with pytest.raises(UsageError, match="holds no training"):
        learn(other, resume=True)
    (tmp_path / "fresh" / "labels").mkdir(parents=True)
    learn(tmp_path / "fresh", steps=2, resume=True)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": "other"}', '{"format": "align3r-training"}']
)
def test_options_that_cannot_be_read_are_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "options.json").write_text(text)
    with pytest.raises(InputError, match=r"options\.json"):
        learn(tmp_path, resume=True)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    learn(tmp_path / "run", steps=2)
    task = Line()
    task.second = torch.nn.Linear(7, 2)
    with pytest.raises(InputError, match="does not fit"):
        learn(tmp_path / "run", task=task, steps=2, resume=True)


# In fp16 the first steps overflow, until the scale of the loss is found, and are left out.
@pytest.mark.parametrize(("precision", "near"), [("bf16", 0.01), ("fp16", 0.4)])
def test_half_precision_is_near_and_goes_on(
    tmp_path: Path, whole: Path, precision: str, near: float
) -> None:
    out = tmp_path / "run"
    task = learn(out, precision=precision)
    assert task.second.weight.dtype is torch.float32
    losses, exact = (
        [line["loss"] for line in curve(where) if "loss" in line] for where in (out, whole)
    )
    assert losses == pytest.approx(exact, rel=near) and losses != exact
    before, weights = curve(out), learned(out)
    (out / "checkpoints" / "step_00000008" / "checkpoint.json").unlink()
    assert torch.equal(
        learn(out, precision=precision, resume=True).first.weight, weights["first.weight"]
    )
    assert curve(out) == before


def test_the_average_is_what_is_validated_and_saved(tmp_path: Path) -> None:
    wanted: dict[str, Any] = {"ema": 0.5, "save_every": 1, "keep": 100, "warmup_epochs": 0.0}
    out = tmp_path / "run"
    task = learn(out, **wanted)
    raw = [
        load_file(out / "checkpoints" / f"step_{step:08d}" / "tensors.safetensors")
        for step in range(1, 9)
    ]
    start = Line().second.weight.detach()
    expected = start.clone()
    for step, tensors in enumerate(raw, start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * tensors["parameter.second.weight"]
        torch.testing.assert_close(tensors["average.second.weight"], expected)
    torch.testing.assert_close(learned(out)["second.weight"], expected)
    torch.testing.assert_close(task.shown[-1], expected)
    assert torch.equal(task.second.weight.detach(), raw[-1]["parameter.second.weight"])
    assert not torch.allclose(task.second.weight.detach(), expected)
    assert start_and_resume(tmp_path / "again", **wanted) == curve(out)
    assert torch.equal(learned(tmp_path / "again")["second.weight"], learned(out)["second.weight"])


def start_and_resume(out: Path, **wanted: Any) -> list[dict[str, Any]]:
    with pytest.raises(Interrupted):
        learn(out, interrupt=4, **wanted)
    learn(out, resume=True, **wanted)
    return curve(out)


def test_an_average_changes_nothing_when_it_is_over() -> None:
    line = Line()
    average, before = Average(line.trained(), 0.9), line.second.weight.detach().clone()
    with torch.no_grad():
        line.second.weight += 1
    with pytest.raises(ZeroDivisionError), average.applied():
        assert torch.equal(line.second.weight.detach(), before)
        _ = 1 / 0
    assert torch.equal(line.second.weight.detach(), before + 1)


def test_without_tensorboard_there_are_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with caplog.at_level(logging.WARNING):
        learn(tmp_path / "run", steps=4)
    assert caplog.text.count("tensorboard is not installed") == 1
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert [line["step"] for line in curve(tmp_path / "run") if "loss" in line] == [2, 4]


def test_without_accelerate_it_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(MissingExtraError) as caught:
        learn(tmp_path / "run")
    assert "align3r[train]" in caught.value.hint and not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([0, 2], "step 2 came in place of step 1"), ([0, 1], "ended after 2 of 8")],
)
def test_batches_that_do_not_come_in_order_are_a_mistake(
    tmp_path: Path, numbers: Sequence[int], words: str
) -> None:
    broken = Feed(16, lambda first, rank, world: iter([(n, [batch(n, 0)]) for n in numbers]))
    with pytest.raises(ValueError, match=words):
        train(Line(), broken, OPTIONS, tmp_path / "run")


def test_nothing_to_train_is_refused(tmp_path: Path) -> None:
    task = Line()
    task.requires_grad_(False)
    with pytest.raises(UsageError, match="nothing is trained"):
        learn(tmp_path / "run", task=task)


def test_what_is_frozen_stays_and_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    task = Line()
    train(task, feed(), OPTIONS, tmp_path / "run", progress=lambda *words: told.append(words))
    assert torch.equal(task.frozen, torch.ones(1)) and task.frozen.grad is None
    assert [done for stage, done, total in told if stage == "training"] == list(range(9))
    assert np.all([total == 8 for stage, done, total in told if stage == "training"])
