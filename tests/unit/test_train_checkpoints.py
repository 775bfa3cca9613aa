"""Checkpoints are whole or not there, and read without running anything that is in them."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from align3r.errors import InputError
from align3r.train import checkpoints
from align3r.train.checkpoints import (
    Checkpoint,
    newest_checkpoint,
    read_checkpoint,
    save_checkpoint,
    steps_saved,
)


def some(step: int) -> Checkpoint:
    tensors = {"a": torch.full((3, 4), float(step)), "b": torch.tensor(step, dtype=torch.float64)}
    return Checkpoint(
        step, tensors, {"scale": 0.1 * step, "names": ["x"], "a": {"c": 1, "b": 1e-30}}
    )


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, some(7), keep=2)
    found = newest_checkpoint(tmp_path)
    assert found is not None and found.step == 7 and found.state == some(7).state
    for name, tensor in some(7).tensors.items():
        assert torch.equal(found.tensors[name], tensor)
        assert found.tensors[name].dtype is tensor.dtype


def test_the_newest_stay(tmp_path: Path) -> None:
    for step in (5, 10, 15, 200, 100_000_000):
        save_checkpoint(tmp_path, some(step), keep=2)
    assert steps_saved(tmp_path) == [200, 100_000_000]
    (tmp_path / "step_mine").mkdir()
    assert steps_saved(tmp_path) == [200, 100_000_000]
    save_checkpoint(tmp_path, some(200), keep=5)  # the same once more
    assert steps_saved(tmp_path) == [200, 100_000_000]


def test_none_is_none(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "nowhere") is None


def test_what_fails_leaves_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(tmp_path, some(1), keep=1)

    def full(*_: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "_digest", full)
    with pytest.raises(InputError, match="no space left"):
        save_checkpoint(tmp_path, some(2), keep=1)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]
    found = newest_checkpoint(tmp_path)
    assert found is not None and found.step == 1


def test_one_that_was_not_finished_is_never_chosen(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, some(1), keep=3)
    save_checkpoint(tmp_path, some(2), keep=3)
    # Killed while it was written: that is what it is called until it is whole.
    (tmp_path / "step_00000002").rename(tmp_path / ".step_00000002.part")
    found = newest_checkpoint(tmp_path)
    assert found is not None and found.step == 1
    save_checkpoint(tmp_path, some(3), keep=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000001", "step_00000003"]


def cut_tensors(place: Path) -> None:
    path = place / "tensors.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def change_tensors(place: Path) -> None:
    path = place / "tensors.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def zero_tensors(place: Path) -> None:
    path = place / "tensors.safetensors"
    path.write_bytes(bytes(path.stat().st_size))


def other_step(place: Path) -> None:
    path = place / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "step": 3}))


def other_state(place: Path) -> None:
    path = place / "checkpoint.json"
    path.write_text(path.read_text().replace('"x"', '"y"'))


def no_state(place: Path) -> None:
    path = place / "checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "state": {}}))


DAMAGE = [
    cut_tensors,
    change_tensors,
    zero_tensors,
    other_step,
    other_state,
    no_state,
    lambda place: (place / "tensors.safetensors").unlink(),
    lambda place: (place / "checkpoint.json").unlink(),
    lambda place: (place / "checkpoint.json").write_text("{"),
    lambda place: (place / "checkpoint.json").write_text("[]"),
    lambda place: (place / "checkpoint.json").write_text('{"version": 1}'),
    lambda place: (place / "checkpoint.json").write_bytes(b"\xff"),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_one_gives_way_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: Any
) -> None:
    for step in (1, 2):
        save_checkpoint(tmp_path, some(step), keep=3)
    damage(tmp_path / "step_00000002")
    with pytest.raises(InputError):
        read_checkpoint(tmp_path, 2)
    with caplog.at_level(logging.WARNING):
        found = newest_checkpoint(tmp_path)
    assert found is not None and found.step == 1
    assert "the one before it" in caplog.text or "the checkpoint before it" in caplog.text
    damage(tmp_path / "step_00000001")
    with pytest.raises(InputError, match="all 2 checkpoints"):
        newest_checkpoint(tmp_path)


def test_no_pickle_is_read(tmp_path: Path) -> None:
    place = tmp_path / "step_00000001"
    place.mkdir()
    torch.save({"a": torch.ones(2)}, place / "tensors.safetensors")
    about = {
        "version": checkpoints._VERSION,
        "step": 1,
        "sha256": checkpoints._digest(place / "tensors.safetensors", {}),
        "state": {},
    }
    (place / "checkpoint.json").write_text(json.dumps(about))
    with pytest.raises(InputError):
        read_checkpoint(tmp_path, 1)
