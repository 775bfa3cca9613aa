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
    steps = options.steps or math.ceil(_steps(options, options.epochs, samples_an_epoch))
    if not steps:
        raise UsageError(f"--loop.epochs is {options.epochs:g}", hint="train for more than 0")
    warmup = _steps(options, options.warmup_epochs, samples_an_epoch)
    if warmup >= steps:
        raise UsageError(
            f"{warmup:.0f} steps of warm-up are no less than the {steps} steps of the training",
            hint=f"make --loop.warmup-epochs smaller than {options.warmup_epochs:g}",
        )
    return steps


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
    warmup = _steps(options, options.warmup_epochs, samples_an_epoch)
    if step < warmup:
        return most * step / warmup
    past = (step - warmup) / (total_steps(options, samples_an_epoch) - warmup)
    return least + (most - least) * 0.5 * (1 + math.cos(math.pi * past))


def _steps(options: LoopOptions, epochs: float, samples_an_epoch: int) -> float:
    return epochs * samples_an_epoch / options.effective_batch
