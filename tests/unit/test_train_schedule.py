"""How long a training is, and the learning rate on the way."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from align3r.errors import UsageError
from align3r.train.options import LoopOptions
from align3r.train.schedule import epoch_of, learning_rate, total_steps

FIN3R = LoopOptions()
SAMPLES = 22_000


def test_the_training_of_the_paper_has_3438_steps() -> None:
    assert total_steps(FIN3R, SAMPLES) == 3438  # 343.75 an epoch
    assert epoch_of(3438, FIN3R, SAMPLES) == pytest.approx(10, abs=2e-3)


def test_the_rate_rises_in_a_line_and_falls_as_half_a_cosine() -> None:
    rates = [learning_rate(step, FIN3R, SAMPLES) for step in range(3438)]
    assert rates[0] == 0
    assert rates[100] == pytest.approx(1e-4 * 100 / 343.75)
    assert max(rates) == pytest.approx(1e-4, rel=1e-5) and rates.index(max(rates)) == 344
    for epoch in (2, 5.5, 9):
        step = round(epoch * 343.75)
        e = step / 343.75
        # Section 5 of the recipe, word by word.
        expected = 1e-6 + (1e-4 - 1e-6) * 0.5 * (1 + math.cos(math.pi * (e - 1) / 9))
        assert rates[step] == pytest.approx(expected, rel=1e-9)
    assert rates[-1] == pytest.approx(1e-6, rel=1e-3)
    assert all(a > b for a, b in pairwise(rates[344:]))


def test_steps_stand_in_place_of_epochs() -> None:
    options = LoopOptions(steps=100, warmup_epochs=0.1)
    assert total_steps(options, SAMPLES) == 100
    assert learning_rate(34, options, SAMPLES) < learning_rate(35, options, SAMPLES)
    assert learning_rate(100, options, SAMPLES) == pytest.approx(1e-6)


def test_without_warm_up_it_starts_at_the_top() -> None:
    assert learning_rate(0, LoopOptions(warmup_epochs=0.0), SAMPLES) == 1e-4


@pytest.mark.parametrize(
    ("options", "samples", "words"),
    [
        ({"epochs": 0.0}, 100, "--loop.epochs is 0"),
        ({}, 0, "nothing to train on"),
        ({"steps": 30}, SAMPLES, "344 steps of warm-up"),
        ({"epochs": 1.0}, SAMPLES, "no less than the 344 steps"),
    ],
)
def test_a_training_that_is_none_is_refused(
    options: dict[str, float], samples: int, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        total_steps(LoopOptions(**options), samples)  # type: ignore[arg-type]
    assert caught.value.hint
