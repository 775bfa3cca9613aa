"""How many steps a training has, and the learning rate of each."""

from __future__ import annotations

import math

from align3r.errors import UsageError
from align3r.train.common_options import LoopOptions


def total_steps(options: LoopOptions, samples_an_epoch: int) -> int:
    """Steps of the optimiser until the end.

    Raises:
        UsageError: There is not one step, or the warm-up is never over.
    """
    if samples_an_epoch < 1:
        raise UsageError(
            "there is nothing to train on", hint="say with --data.data what an epoch holds"
        )
    warmup, end = _ends(options, samples_an_epoch)
    if not end:
        raise UsageError(f"--loop.epochs is {options.epochs:g}", hint="train for more than 0")
    if warmup >= end:
        raise UsageError(
            f"{warmup:.0f} steps of warm-up are no less than the {end:.0f} steps of the training",
            hint=f"make --loop.warmup-epochs smaller than {options.warmup_epochs:g}",
        )
    return math.ceil(end)


def epoch_of(step: int, options: LoopOptions, samples_an_epoch: int) -> float:
    """Epochs that are over after so many steps."""
    return step * options.effective_batch / samples_an_epoch


def learning_rate(step: int, options: LoopOptions, samples_an_epoch: int) -> float:
    """Learning rate of a step, from 0: linear warm-up, then half a cosine (DUSt3R's trainer).

    `least + (most - least) (1 + cos(pi (e - w) / (E - w))) / 2` at epoch e, after w of E epochs.

    Args:
        step: Steps that are over.
        options: Rates and lengths.
        samples_an_epoch: How long an epoch is.
    """
    most, least = options.learning_rate, options.least_rate
    warmup, end = _ends(options, samples_an_epoch)
    if step < warmup:
        return most * step / warmup
    past = min((step - warmup) / (end - warmup), 1.0)
    return least + (most - least) * 0.5 * (1 + math.cos(math.pi * past))


def _ends(options: LoopOptions, samples_an_epoch: int) -> tuple[float, float]:
    """Steps until the warm-up and the training are over; an epoch may end within a step."""
    steps_an_epoch = samples_an_epoch / options.effective_batch
    end = options.epochs * steps_an_epoch if options.steps is None else options.steps
    return options.warmup_epochs * steps_an_epoch, end
