"""The training loop: step after step, written down, validated, saved, and gone on with."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from align3r.device import kept_heap
from align3r.errors import InputError, SolveError
from align3r.io.lock import one_run_at_a_time
from align3r.progress import Report, as_report
from align3r.train.activation import checkpointed, exact_heads
from align3r.train.checkpoints import (
    Checkpoint,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
)
from align3r.train.common_options import LoopOptions
from align3r.train.digest import digest_without
from align3r.train.learner import Learner
from align3r.train.means import Window
from align3r.train.pace import Pace
from align3r.train.processes import Processes
from align3r.train.record import Record
from align3r.train.run_folder import CHECKPOINTS, RESULT, open_folder
from align3r.train.schedule import epoch_of, learning_rate, total_steps
from align3r.train.stopping import Stop, asked_to_stop
from align3r.train.task import Batch, Feed, Steps, Task
from align3r.types import Progress

log = logging.getLogger(__name__)

_STILL = 10
"""Steps without any gradient, of 0 to the bit, that are no chance."""


class Interrupted(KeyboardInterrupt):
    """A signal ended the training after a checkpoint was saved; it can be gone on with."""


def train(
    task: Task,
    feed: Feed,
    options: LoopOptions,
    out: Path,
    *,
    run: Any = None,
    resume: bool = False,
    progress: bool | Progress = False,
) -> Path:
    """Train until the end of the schedule.

    The folder holds `options.json`, `log.jsonl`, `tensorboard`, `checkpoints`, and in the end
    `result`. Neither the number of processes nor an interruption changes what is learned, but for
    the order in which processes add up their numbers.

    Args:
        task: What is trained; it is moved to the device, and trained in place.
        feed: Where batches come from.
        options: How long, how fast, what is kept.
        out: Folder of the training, the same for all processes.
        run: Dataclass of all options, which `options` is a part of; written, and compared with that
            of a training that is resumed. `options` when not given.
        resume: Go on with the newest checkpoint in `out`, if there is a training in it.
        progress: How to say where it is.

    Returns:
        The folder of the result.

    Raises:
        Interrupted: Ctrl-C or a terminate signal; a checkpoint has been saved.
        MissingExtraError: accelerate is not installed.
        SolveError: A loss is not finite, and the samples are named; or nothing is learned.
        UsageError: The options make no sense, are other than those of the training that is resumed,
            or the folder holds a training already.
        InputError: The folder cannot be written, all of its checkpoints are damaged, or it
            was another network that the training was started with.
    """
    total_steps(options, feed.samples_an_epoch)
    processes = Processes(options.device)
    with ExitStack() as stack:
        if processes.is_first:
            stack.enter_context(one_run_at_a_time(out))
            open_folder(out, options if run is None else run, resume=resume)
        processes.wait()
        module = cast(nn.Module, task).to(processes.device)
        stack.enter_context(_own_random_numbers(processes.device))
        stack.enter_context(kept_heap())
        if options.activation_checkpointing:
            stack.enter_context(checkpointed(module))
        learner = Learner(task, options, processes)
        if not learner.is_exact:
            stack.enter_context(exact_heads(module))
        stop = stack.enter_context(asked_to_stop(insist=processes.world == 1))
        report = as_report(progress if processes.is_first else False)
        training = _Training(task, feed, options, out, learner=learner, processes=processes)
        return training.run(stop, report)


class _Training:
    """A training under way."""

    def __init__(
        self,
        task: Task,
        feed: Feed,
        options: LoopOptions,
        out: Path,
        *,
        learner: Learner,
        processes: Processes,
    ) -> None:
        self._task, self._feed, self._options, self._out = task, feed, options, out
        self._learner, self._processes = learner, processes
        self._total = total_steps(options, feed.samples_an_epoch)
        self._window = Window()
        self._done = self._still = self._taken = 0
        self._frozen = _frozen(task) if processes.is_first else ""
        self._record: Record | None = None
        self._pace = Pace()

    def run(self, stop: Stop, report: Report) -> Path:
        """From the newest checkpoint, or the start, to the end."""
        self._go_on()
        # Before anything is validated, for what it refuses.
        steps = self._feed.open(self._done, self._processes.rank, self._processes.world)
        if self._processes.is_first:
            self._record = Record(self._out, step=self._done or -1)
        try:
            if self._done == 0:
                self._validate(report)
            self._steps(steps, stop, report)
        finally:
            if self._record is not None:
                self._record.close()
        result = self._out / RESULT
        if self._processes.is_first:
            with self._averaged():
                self._task.save(result)
        self._processes.wait()
        return result

    def _go_on(self) -> None:
        """Take up the newest checkpoint that the first process finds, if there is one."""
        folder = self._out / CHECKPOINTS
        found = newest_checkpoint(folder) if self._processes.is_first else None
        if found is not None and found.state.get("frozen") != self._frozen:
            raise InputError(
                "what is not trained of the network is not as it was before",
                hint="resume with the weights that the training was started with",
            )
        step = self._processes.agree(found.step if found is not None else -1)
        if step < 0:
            return
        found = found or read_checkpoint(folder, step)
        self._learner.load(found.tensors, found.state["learner"])
        self._window.load(found.state["window"])
        self._done = step
        if self._processes.is_first:
            log.info("the training goes on after step %d of %d", step, self._total)

    def _steps(self, steps: Steps, stop: Stop, report: Report) -> None:
        report("training", self._done, self._total)
        with ExitStack() as stack:
            stack.callback(getattr(steps, "close", lambda: None))
            while self._done < self._total:
                self._step(self._next(steps, stop), report)
                # All stop together, or those that go on would wait for the others for ever.
                wished = self._processes.sum(torch.tensor(int(stop.asked))).item() > 0
                if wished or self._due(self._options.save_every):
                    self._save()
                if wished and self._done < self._total:
                    raise self._interrupted()

    def _next(self, steps: Steps, stop: Stop) -> Sequence[Batch]:
        try:
            step, batches = next(steps)
        except StopIteration:
            raise ValueError(f"the batches ended after {self._done} of {self._total}") from None
        except Exception as error:
            # Whoever reads may have ended at the same wish. Others would not know of a checkpoint.
            if not stop.asked or self._processes.world > 1:
                raise
            self._save()
            raise self._interrupted() from error
        if step != self._done:
            raise ValueError(f"step {step} came in place of step {self._done}")
        return batches

    def _interrupted(self) -> Interrupted:
        return Interrupted(f"saved after step {self._done} of {self._total}")

    def _step(self, batches: Sequence[Batch], report: Report) -> None:
        options = self._options
        rate = learning_rate(self._done, options, self._feed.samples_an_epoch)
        means = self._learner.step(self._done, batches, rate)
        self._done += 1
        self._look(means["gradient_norm"])
        self._window.add(means)
        self._pace.add(options.effective_batch)
        report("training", self._done, self._total)
        if self._due(options.log_every):
            values = self._window.take()
            if self._record is not None:
                epoch = epoch_of(self._done, options, self._feed.samples_an_epoch)
                values |= {"learning_rate": rate, "epoch": epoch, **self._pace.take()}
                self._record.numbers(self._done, values)
        if self._due(options.image_every):
            self._show(batches[-1])
        if self._due(options.validate_every):
            self._validate(report)

    def _look(self, gradient_norm: float) -> None:
        """See whether anything is learned.

        Raises:
            SolveError: Nothing was, since the start.
        """
        self._taken += 1
        self._still = self._still + 1 if gradient_norm == 0 else 0
        if self._still != min(_STILL, self._total):
            return
        text = f"nothing is learned: the gradient was 0 in all of the last {self._still} steps"
        if self._still == self._taken:
            raise SolveError(
                text, hint="look whether the data have labels, or lower --loop.learning-rate"
            )
        if self._processes.is_first:
            log.warning("%s", text)

    def _due(self, every: int) -> bool:
        """Whether what is done every so many steps is done now; at the end all is, but for 0."""
        return bool(every) and (self._done % every == 0 or self._done == self._total)

    @torch.no_grad()
    def _show(self, batch: Batch) -> None:
        if self._record is not None and self._record.shows_pictures:
            with self._learner.autocast():
                images = self._task.pictures(batch.to(self._processes.device))
            self._record.pictures(self._done, images)

    @torch.no_grad()
    def _validate(self, report: Report) -> None:
        if self._options.validate_every and self._record is not None:
            with self._averaged(), self._learner.autocast():
                metrics = self._task.validate(report)
            if metrics:
                self._record.numbers(self._done, metrics, group="validation")
        self._processes.wait()
        self._pace.restart()

    def _averaged(self) -> AbstractContextManager[None]:
        average = self._learner.average
        return average.applied() if average is not None else nullcontext()

    def _save(self) -> None:
        if self._processes.is_first:
            state = {
                "learner": self._learner.state(),
                "window": self._window.state(),
                "frozen": self._frozen,
            }
            found = Checkpoint(self._done, self._learner.tensors(), state)
            save_checkpoint(self._out / CHECKPOINTS, found, keep=self._options.keep)
        self._processes.wait()


def _frozen(task: Task) -> str:
    """A digest of what is not trained: 1.4 s for 600 million numbers, once a run."""
    module = cast(nn.Module, task)
    trained = {id(parameter) for parameter in task.trained().values()}
    named = module.named_parameters(remove_duplicate=False)
    return digest_without(module, {name for name, value in named if id(value) in trained})


@contextmanager
def _own_random_numbers(device: torch.device) -> Iterator[None]:
    """Random numbers of the caller are not changed by those of the training."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
