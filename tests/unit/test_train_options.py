"""Options of training: checked as they are made, and what suits each network."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any, get_args

import pytest

from align3r.config import PriorName
from align3r.errors import UsageError
from align3r.models.lora import LoraSettings, Renorm
from align3r.train.losses import Distance, LossSettings, Normaliser
from align3r.train.options import (
    STUDENT_DEFAULTS,
    Align3rOptions,
    DataOptions,
    DistanceName,
    Fin3rOptions,
    LoopOptions,
    LoraOptions,
    LossOptions,
    NormaliserName,
    RenormName,
    StudentName,
    TeacherName,
    TeacherOptions,
    TrainedPriorName,
    fill_data,
    parse_size,
)

WRONG: list[tuple[type, dict[str, Any]]] = [
    (LoopOptions, {"epochs": -1.0}),
    (LoopOptions, {"epochs": float("nan")}),
    (LoopOptions, {"epochs": float("inf")}),
    (LoopOptions, {"steps": 0}),
    (LoopOptions, {"effective_batch": 0}),
    (LoopOptions, {"learning_rate": 1e-7}),
    (LoopOptions, {"least_rate": -1e-7}),
    (LoopOptions, {"betas": (0.9, 1.0)}),
    (LoopOptions, {"ema": 1.0}),
    (LoopOptions, {"ema": float("nan")}),
    (LoopOptions, {"clip": -1.0}),
    (LoopOptions, {"keep": 0}),
    (LoopOptions, {"save_every": 0}),
    (LoopOptions, {"workers": -1}),
    (LoopOptions, {"seed": -1}),
    (LoopOptions, {"seed": 2**63}),
    (DataOptions, {"sizes": ("512",)}),
    (DataOptions, {"sizes": ("0x512",)}),
    (DataOptions, {"lengths": (2, 0)}),
    (DataOptions, {"lengths": (2, 5), "views_a_batch": 4}),
    (DataOptions, {"zoom": 0.5}),
    (DataOptions, {"zoom": 11.0}),
    (DataOptions, {"zoom": float("nan")}),
    (DataOptions, {"crop_offset": -1}),
    (DataOptions, {"jitter": (0.5, 0.5, 0.5, 0.6)}),
    (DataOptions, {"jitter": (0.5, float("nan"), 0.5, 0.1)}),
    (LossOptions, {"confidence_weight": -0.1}),
    (LossOptions, {"replay_confidence_weight": float("nan")}),
    (TeacherOptions, {"tokens": 0}),
    (Align3rOptions, {"confidence_weight": -1.0}),
]


@pytest.mark.parametrize(("kind", "values"), WRONG)
def test_numbers_that_make_no_sense_are_refused(kind: type, values: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        kind(**values)
    assert caught.value.hint and "\n" not in str(caught.value)


def test_names_are_those_that_the_parts_know() -> None:
    for ours, theirs in ((RenormName, Renorm), (DistanceName, Distance)):
        assert set(get_args(ours)) == set(get_args(theirs))
    assert set(get_args(NormaliserName)) == set(get_args(Normaliser))
    assert set(get_args(TeacherName)) - {"truth"} <= set(get_args(PriorName))
    assert set(get_args(TrainedPriorName)) - {"truth"} <= set(get_args(PriorName))
    assert set(STUDENT_DEFAULTS) == set(get_args(StudentName))


def test_the_defaults_are_those_of_the_parts() -> None:
    lora, loss = LoraOptions(), LossOptions()
    assert LoraSettings(rank=lora.rank, alpha=lora.alpha, renorm=lora.renorm) == LoraSettings()
    assert loss.distance == LossSettings().distance
    assert loss.normaliser == LossSettings().normaliser
    assert loss.confidence_weight == LossSettings().confidence_weight


def test_the_recipe_of_align3r_is_another_one() -> None:
    ours, theirs = Align3rOptions(), Fin3rOptions()
    assert (ours.loop.epochs, ours.loop.warmup_epochs) == (50, 5)
    assert (ours.loop.learning_rate, ours.loop.effective_batch) == (5e-5, 16)
    assert (theirs.loop.epochs, theirs.loop.learning_rate) == (10, 1e-4)
    assert theirs.loop.effective_batch == 64 and theirs.student == "dust3r"


@pytest.mark.parametrize("student", get_args(StudentName))
def test_what_is_not_asked_for_suits_the_student(student: StudentName) -> None:
    filled = fill_data(DataOptions(), student)
    patch = 14 if student == "vggt" else 16
    for size in filled.sizes:
        assert all(side % patch == 0 for side in parse_size(size))
        assert max(parse_size(size)) == (518 if student == "vggt" else 512)
    assert filled.views_a_batch == (8 if student in ("cut3r", "vggt") else 4)
    assert filled.lengths == (tuple(range(2, 9)) if student in ("cut3r", "vggt") else (2,))
    assert fill_data(filled, student) == filled


def test_what_is_asked_for_stays() -> None:
    asked = DataOptions(sizes=("64x48",), lengths=(3,), views_a_batch=6, data=("5@sa1b=x",))
    assert fill_data(asked, "cut3r") == asked
    assert fill_data(DataOptions(lengths=(12,)), "cut3r").views_a_batch == 12


@pytest.mark.parametrize(
    ("asked", "student", "words"),
    [
        ({"sizes": ("64x40",)}, "dust3r", "64x40"),
        ({"sizes": ("512x384",)}, "vggt", "multiples of 14"),
        ({"lengths": (3,)}, "dust3r", "takes pairs"),
        ({"views_a_batch": 4}, "cut3r", "at least 8"),
    ],
)
def test_what_a_student_cannot_take_is_refused(
    asked: dict[str, Any], student: StudentName, words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        fill_data(DataOptions(**asked), student)
    assert words in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("text", ["512", "x", "512x", "-1x4", "512X384", "5" * 5000 + "x4", "٣x٣"])
def test_sizes_are_two_numbers(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)
    assert parse_size("512x384") == (512, 384)


def test_every_field_is_explained() -> None:
    from tyro._docstrings import get_field_docstring

    for kind in (LoopOptions, DataOptions, LoraOptions, LossOptions, TeacherOptions):
        for field in dataclasses.fields(kind):
            assert get_field_docstring(kind, field.name, ()), f"{kind.__name__}.{field.name}"


def test_options_are_read_without_torch() -> None:
    program = "import sys, align3r.train.options; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


def test_all_lengths_that_no_pair_network_takes_are_named() -> None:
    with pytest.raises(UsageError, match="takes pairs, not samples of 2, 3 views"):
        fill_data(DataOptions(lengths=(2, 3)), "dust3r")


def test_what_is_held_out_may_change_on_the_way() -> None:
    free = {f.name for f in dataclasses.fields(DataOptions) if f.metadata.get("free")}
    assert free == {"validation", "validation_samples"}


def test_a_whole_number_beyond_all_floats_is_refused() -> None:
    with pytest.raises(UsageError, match="warmup-epochs"):
        LoopOptions(warmup_epochs=10**400)
