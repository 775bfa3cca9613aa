"""Options of every training: how long and how fast, and what it is trained on."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from align3r.config import PrecisionName
from align3r.errors import UsageError

FREE: Mapping[str, Any] = {"free": True}
"""Metadata of fields that do not change what is learned: a resumed run may change them."""
LOOSE: Mapping[str, Any] = {"free": True, "told": True}
"""Metadata of fields that a resumed run may change, and says so: what helps when it diverges."""
_LARGEST_SEED = 2**63 - 1
_LARGEST_ZOOM = 10.0


@dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How long, how fast and in which numbers to train, and what to keep."""

    epochs: float = 10.0
    """Epochs; one is as many samples as --data.data asks for."""
    steps: int | None = None
    """Steps of the optimiser, in place of --loop.epochs."""
    effective_batch: int = 64
    """Samples a step, over all processes and accumulated batches: it does not depend on them."""
    learning_rate: float = field(default=1e-4, metadata=LOOSE)
    """Largest learning rate; this and the next may be others when a training is resumed."""
    least_rate: float = field(default=1e-6, metadata=LOOSE)
    """Learning rate at the end of the cosine."""
    warmup_epochs: float = 1.0
    """Epochs in which the learning rate rises from 0, in a line."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Of AdamW; those of the training of DUSt3R and CUT3R. Fin3R does not say."""
    weight_decay: float = 0.0
    """Of AdamW, for matrices alone. DUSt3R and CUT3R take 0.05; Fin3R does not say, and adapters
    are small as it is."""
    clip: float = field(default=1.0, metadata=LOOSE)
    """Largest norm of the gradient, longer ones are shortened to it; 0: none. The paper does not
    say. It may be another when a training is resumed."""
    precision: PrecisionName = field(default="auto", metadata=LOOSE)
    """Numbers of the matrices; what is trained stays float32, and so do heads. auto: bf16 where the
    machine has it. fp16 scales the loss, and leaves out steps that overflow. They may be
    others when a training is resumed."""
    activation_checkpointing: bool = field(default=True, metadata=FREE)
    """Compute the blocks of the network a second time in the backward pass in place of keeping
    what they computed: a fraction of the memory for a third more time, the same gradients."""
    ema: float | None = None
    """Decay of a moving average of what is trained, such as 0.999, which is then what is validated
    and saved at the end; by default there is none. It is less at the start: (1 + n) / (10 + n)
    after n steps."""
    seed: int = 0
    """Same seed, same machine, same numbers."""
    save_every: int = field(default=200, metadata=FREE)
    """Steps between checkpoints; there is one at the end, and one when a run is interrupted."""
    keep: int = field(default=3, metadata=FREE)
    """How many of the newest checkpoints stay."""
    log_every: int = field(default=10, metadata=FREE)
    """Steps between lines of log.jsonl; each is the mean over the steps since the last."""
    validate_every: int = field(default=350, metadata=FREE)
    """Steps between validations, of which one is before the first step; 0: none at all."""
    image_every: int = field(default=350, metadata=FREE)
    """Steps between pictures in tensorboard; 0: none."""
    workers: int = field(default=2, metadata=FREE)
    """Processes that read data, for each process that trains; 0: it reads its own."""
    device: Literal["auto", "cpu", "cuda", "mps"] = field(default="auto", metadata=FREE)
    """Where to compute."""

    def __post_init__(self) -> None:
        """Refuse numbers that no run can make sense of.

        Raises:
            UsageError: A number is out of its range or not a number.
        """
        least = {"epochs": 0, "warmup_epochs": 0, "least_rate": 0, "weight_decay": 0, "clip": 0}
        least |= {"seed": 0, "validate_every": 0, "image_every": 0, "workers": 0}
        least |= {"effective_batch": 1, "save_every": 1, "keep": 1, "log_every": 1, "steps": 1}
        for name, bound in least.items():
            check_number("loop", name, getattr(self, name), least=bound)
        check_number("loop", "learning_rate", self.learning_rate, least=self.least_rate)
        if self.seed > _LARGEST_SEED:
            raise UsageError(f"--loop.seed is {self.seed}", hint="it is less than 2 to the 63")
        for beta in (*self.betas, self.ema):
            if beta is not None and not 0 <= beta < 1:
                raise UsageError(
                    f"a moving average with decay {beta}", hint="it is at least 0 and less than 1"
                )


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """What is trained and validated on, and how samples are cut from it."""

    data: tuple[str, ...] = ()
    """What an epoch holds: SAMPLES@DATASET=ROOT, or SAMPLES@DATASET=ROOT:PATTERN,... for some of
    its sequences, such as 20000@sa1b=/data/sa1b."""
    validation: tuple[str, ...] = field(default=(), metadata=FREE)
    """What is held out: DATASET=ROOT, or DATASET=ROOT:PATTERN,...; by default nothing is."""
    validation_samples: int = field(default=50, metadata=FREE)
    """Images of each held-out data set that are looked at, spread evenly over it."""
    sizes: tuple[str, ...] = ()
    """Sizes of training images, WIDTHxHEIGHT, of which each step draws one; by default those that
    the network was trained with. Fin3R draws the aspect ratio, and does not list the ratios."""
    lengths: tuple[int, ...] = ()
    """Views of a sample, of which each step draws one; by default what the network takes: 2 for
    pairs, 2 to 8 for others."""
    views_a_batch: int | None = None
    """Most views in one batch of one process: batch times length. By default 8, and 4 for pairs,
    as in Fin3R; it changes memory and time, and hardly what is learned."""
    single: Literal["single", "repeat", "crops"] = "single"
    """What becomes of a data set of single images in a network of many views: a sample of one view,
    the same image several times, or overlapping crops of it. Fin3R does not say. Networks of
    pairs are given the image twice, whatever this says but crops."""
    strides: tuple[str, ...] = ()
    """DATASET=LEAST-MOST: how many frames on the next view of a sample is, in place of what suits
    the data set."""
    crop_offset: int = 16
    """Most pixels by which the image is larger than the crop, which is moved at random by up to
    half of them; 0: none. 16 as DUSt3R."""
    zoom: float = 1.0
    """Most by which an image is enlarged at random before it is cropped, so that focal lengths
    vary, up to 10; 1: none."""
    jitter: tuple[float, float, float, float] = (0.5, 0.5, 0.5, 0.1)
    """Most by which brightness, contrast, saturation and hue change at random: three factors
    within 1 - x and 1 + x, and a part of the circle; four zeros: none."""

    def __post_init__(self) -> None:
        """Refuse numbers that no run can make sense of.

        Raises:
            UsageError: A number is out of its range or not a number.
        """
        for size in self.sizes:
            parse_size(size)
        for length in self.lengths:
            check_number("data", "lengths", length, least=1)
        check_number(
            "data", "views_a_batch", self.views_a_batch, least=max(self.lengths, default=1)
        )
        check_number("data", "validation_samples", self.validation_samples, least=1)
        check_number("data", "crop_offset", self.crop_offset, least=0)
        check_number("data", "zoom", self.zoom, least=1)
        if self.zoom > _LARGEST_ZOOM:
            raise UsageError(f"--data.zoom is {self.zoom}", hint=f"it is at most {_LARGEST_ZOOM:g}")
        for value, most in zip(self.jitter, (1, 1, 1, 0.5), strict=True):
            if not 0 <= value <= most:
                raise UsageError(
                    f"--data.jitter has a {value}", hint=f"there it is at least 0, at most {most}"
                )


def parse_size(text: str) -> tuple[int, int]:
    """Width and height of a size such as 512x384.

    Raises:
        UsageError: It is none.
    """
    found = re.fullmatch("([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", text)
    if found is None:
        raise UsageError(f"{text!r:.40} is no size", hint="write WIDTHxHEIGHT, such as 512x384")
    return int(found[1]), int(found[2])


def check_number(group: str, name: str, value: float | None, *, least: float) -> None:
    """Refuse a number that is too small, infinite or not a number.

    Raises:
        UsageError: `value` is one, and is no None; the message names the flag.
    """
    if value is None or least <= value <= sys.float_info.max:
        return
    flag = f"{group}.{name}" if group else name
    raise UsageError(f"--{flag.replace('_', '-')} is {value}", hint=f"it is at least {least}")
