"""Options survive JSON, and nothing unknown slips in."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from align3r.cli.arguments import SHORT, spell_out
from align3r.cli.options_io import options_from_json, read_options
from align3r.config import (
    AlignOptions,
    CameraOptions,
    InputOptions,
    Options,
    OutputOptions,
    PairOptions,
)
from align3r.errors import InputError, UsageError
from align3r.io.jsonable import jsonable
from align3r.train.options import (
    Align3rOptions,
    DataOptions,
    Fin3rOptions,
    LoopOptions,
    LoraOptions,
)

UNUSUAL = Options(
    model="geometric",
    seed=7,
    input=InputOptions(start=1.5, stop=3.0, stride=2, fps=12.0, max_frames=30),
    camera=CameraOptions(focal=520.0, intrinsics=(1.0, 2.0, 3.0, 4.0), masks="m"),
    pairs=PairOptions(graph="swin", cyclic=True),
    align=AlignOptions(geometry="scale", steps=20),
    output=OutputOptions(html=False, max_points=5),
)


@pytest.mark.parametrize("options", [Options(), UNUSUAL])
def test_options_survive_json(options: Options) -> None:
    text = json.dumps(jsonable(options))
    assert options_from_json(json.loads(text)) == options
    assert options_from_json(json.loads(json.dumps(dataclasses.asdict(options)))) == options


def test_what_is_not_mentioned_keeps_its_default() -> None:
    assert options_from_json({"input": {"stride": 3}}) == Options(input=InputOptions(stride=3))


def test_a_whole_number_is_a_float_where_one_is_due() -> None:
    assert options_from_json({"input": {"start": 2}}).input.start == 2.0


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"sede": 3}, "unknown option 'sede'"),
        ({"input": {"strid": 3}}, "unknown option 'input.strid'"),
        ({"input": 3}, "input must be a group"),
        ({"input": {"stride": 2.5}}, "'input.stride' is 2.5"),
        ({"input": {"stride": True}}, "'input.stride' is True"),
        ({"input": {"stride": None}}, "'input.stride' is None"),
        ({"model": "gpt"}, "'model' is 'gpt'"),
        ({"camera": {"intrinsics": [1, 2, 3]}}, "'camera.intrinsics'"),
        ({"output": {"html": 1}}, "'output.html' is 1"),
    ],
)
def test_wrong_options_are_named(values: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError) as caught:
        options_from_json(values)
    assert says in str(caught.value)


def test_the_nearest_name_is_the_hint() -> None:
    with pytest.raises(UsageError) as caught:
        options_from_json({"input": {"strid": 3}})
    assert "input.stride" in caught.value.hint


def test_files_that_are_no_config(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_options(tmp_path / "none.json")
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        read_options(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(UsageError, match="no options"):
        read_options(tmp_path / "list.json")
    (tmp_path / "scene.json").write_text('{"format": "align3r"}')
    with pytest.raises(UsageError, match="no options"):
        read_options(tmp_path / "scene.json")


def test_short_names_lead_to_options_that_exist() -> None:
    for full in SHORT.values():
        group, name = full.removeprefix("--").split(".")
        assert hasattr(getattr(Options(), group), name.replace("-", "_"))


def test_short_names_are_spelled_out() -> None:
    words = ["a.mp4", "--start", "3", "--max-frames=9", "--max_frames", "8", "--align.steps", "5"]
    assert spell_out(words) == [
        *["a.mp4", "--input.start", "3", "--input.max-frames=9", "--input.max-frames", "8"],
        *["--align.steps", "5"],
    ]


TRAINED = Fin3rOptions(
    student="vggt",
    lora=LoraOptions(rank=4, renorm="none"),
    data=DataOptions(data=("3@rendered=r",), sizes=("518x294",), lengths=(2, 3)),
    loop=LoopOptions(ema=0.99, steps=7, betas=(0.8, 0.9)),
)


@pytest.mark.parametrize("options", [Fin3rOptions(), TRAINED, Align3rOptions()])
def test_options_of_a_training_survive_json(options: Any) -> None:
    text = json.dumps(jsonable(options))
    assert options_from_json(json.loads(text), type(options)) == options


def test_a_group_keeps_the_defaults_of_the_group_that_it_is_in() -> None:
    found = options_from_json({"loop": {"seed": 3}, "data": {"sizes": ["64x48"]}}, Align3rOptions)
    assert found.loop == dataclasses.replace(Align3rOptions().loop, seed=3)
    assert found.loop.epochs != LoopOptions().epochs
    assert found.data == dataclasses.replace(Align3rOptions().data, sizes=("64x48",))


def test_what_the_options_refuse_a_file_is_refused_as_well() -> None:
    with pytest.raises(UsageError, match=r"--loop\.keep is 0"):
        options_from_json({"loop": {"keep": 0}}, Fin3rOptions)


@pytest.mark.parametrize("group", ["teacher", "loop"])
def test_numbers_that_are_no_floats_are_refused(group: str) -> None:
    name = {"teacher": "tokens", "loop": "learning_rate"}[group]
    with pytest.raises(UsageError, match=rf"'{group}\.{name}' is 1000.*\.\.\.") as caught:
        options_from_json({group: {name: 10**400}}, Fin3rOptions)
    assert caught.value.hint == "give a number that is smaller"


def test_options_of_another_training(tmp_path: Path) -> None:
    path = tmp_path / "options.json"
    written = {"format": "align3r-training", "kind": "Fin3rOptions", "options": jsonable(TRAINED)}
    path.write_text(json.dumps(written))
    assert read_options(path, Fin3rOptions) == TRAINED
    for kind in (Align3rOptions, Options):
        with pytest.raises(UsageError, match="no options of this command"):
            read_options(path, kind)
