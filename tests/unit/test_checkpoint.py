"""Every form that weights come in gives the same tensors; every wrong file says what is wrong."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from networks import config_of, constructor, public_state, tiny, write_folder, write_pth
from safetensors.torch import save_file
from torch import Tensor

from align3r.errors import WeightsError
from align3r.models.checkpoint import read_checkpoint

ARCHITECTURE = tiny()
CONFIG = config_of(ARCHITECTURE)


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return public_state(ARCHITECTURE)


def plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in value.items()}


def folder(place: Path, state: dict[str, Tensor]) -> Path:
    return write_folder(place / "weights", state, CONFIG)


def bare(place: Path, state: dict[str, Tensor]) -> Path:
    return folder(place, state) / "model.safetensors"


def zipped(place: Path, state: dict[str, Tensor]) -> Path:
    return write_pth(place / "a.pth", state, constructor(CONFIG))


def old(place: Path, state: dict[str, Tensor]) -> Path:
    return write_pth(place / "a.pth", state, constructor(CONFIG), new=False)


@pytest.mark.parametrize("write", [folder, bare, zipped, old])
def test_every_form_gives_the_same(
    write: Callable[..., Path], state: dict[str, Tensor], tmp_path: Path
) -> None:
    checkpoint = read_checkpoint(write(tmp_path, state))
    assert plain(checkpoint.config) == plain(CONFIG)
    assert checkpoint.config["depth_mode"][1] == -math.inf
    assert checkpoint.state.keys() == state.keys()
    for name, tensor in checkpoint.state.items():
        assert torch.equal(tensor, state[name]), name


def test_the_hub_layout_is_what_the_hub_has(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = folder(tmp_path, state)
    assert '"depth_mode": ["exp", -Infinity, Infinity]' in (path / "config.json").read_text()
    read = read_checkpoint(path).state
    scratch = "downstream_head2.dpt.scratch."
    assert read[f"{scratch}layer_rn.3.weight"] is read[f"{scratch}layer4_rn.weight"]


def test_a_plain_state_dict_has_no_config(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "a.pth")
    assert read_checkpoint(tmp_path / "a.pth").config == {}
    (tmp_path / "config.json").write_text('{"dec_depth": 8}')
    assert read_checkpoint(tmp_path / "a.pth").config == {"dec_depth": 8}


def test_a_config_of_its_own_counts_more_than_one_beside(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{"dec_depth": 1}')
    assert read_checkpoint(zipped(tmp_path, state)).config["dec_depth"] == 8


def test_tensors_are_mapped_not_read(tmp_path: Path) -> None:
    big = {"a": torch.zeros(30_000_000)}
    save_file(big, tmp_path / "a.safetensors")
    torch.save(big, tmp_path / "a.pth")
    del big
    for name in ("a.safetensors", "a.pth"):
        before = anonymous_mb()
        read = read_checkpoint(tmp_path / name).state
        assert anonymous_mb() - before < 30, name
        assert not read["a"].any()


def anonymous_mb() -> float:
    """Memory of this process that is no file."""
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("this system does not say how much memory a process has")
    return int(status.read_text().partition("RssAnon:")[2].split()[0]) / 1024


def said(path: Path) -> str:
    """What is said about a file that is refused; it is one line, names the file, has a hint."""
    with pytest.raises(WeightsError) as caught:
        read_checkpoint(path)
    message = str(caught.value)
    assert str(path) in message and caught.value.hint and "\n" not in message
    return message


@pytest.mark.parametrize("name", ["a.safetensors", "a.pth"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "pointer of 63"),
        (b"<!DOCTYPE html><html>" + b"x" * 600, "is a web page of 621 bytes"),
        (b"\n <html>sign in</html>", "is a web page"),
    ],
)
def test_what_failed_downloads_leave(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert words in said(tmp_path / name)


@pytest.mark.parametrize("keep", [-1, -5000, 500, 9])
def test_a_safetensors_file_that_is_cut_off(
    keep: int, state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = bare(tmp_path, state)
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    words = said(path)
    if keep < 0:
        assert words.endswith(f"is cut off: {len(whole) + keep} of {len(whole)} bytes are there")
    else:
        assert f"less than its header is there ({keep} bytes)" in words


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"abc", "less than its header"),
        (b"\x93NUMPY\x01\x00" * 500, "no safetensors file"),
        ((5).to_bytes(8, "little") + b"12345", "header is not JSON of the expected form"),
        ((2).to_bytes(8, "little") + b"{]", "header is not JSON of the expected form"),
    ],
)
def test_a_safetensors_file_that_is_none(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    assert words in said(path)


def test_a_safetensors_file_that_is_too_long(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = bare(tmp_path, state)
    path.write_bytes(path.read_bytes() + b"more")
    assert "damaged" in said(path)


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.99])
def test_a_pth_file_that_is_cut_off(
    new: bool, keep: float, state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = write_pth(tmp_path / "a.pth", state, constructor(CONFIG), new=new)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    assert "cut off" in said(path) if new else "damaged" in said(path)


@pytest.mark.parametrize("content", [b"abc", bytes(1000), b"\x80\x02}q\x00." + b"x" * 99])
def test_a_pth_file_that_is_none(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    said(tmp_path / "a.pth")


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("new", [True, False])
def test_nothing_is_run_when_a_file_is_read(
    new: bool, state: dict[str, Tensor], tmp_path: Path
) -> None:
    saved = {"model": state, "args": Trap(tmp_path / "sprung")}
    torch.save(saved, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
    assert "asks for posix.mkdir when it is opened" in said(tmp_path / "a.pth")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("saved", "words"),
    [
        ([1, 2], "holds a list"),
        ({}, "not tensors by name"),
        ({"model": {}}, "not tensors by name"),
        ({"weights": {"a": torch.zeros(1)}}, "type dict under 'weights'"),
        ({"model": {"a": 3}}, "type int under 'a'"),
        ({3: torch.zeros(1)}, "under 3"),
    ],
)
def test_a_pth_file_with_something_else(saved: Any, words: str, tmp_path: Path) -> None:
    torch.save(saved, tmp_path / "a.pth")
    assert words in said(tmp_path / "a.pth")


def test_a_constructor_that_is_code_is_not_run(state: dict[str, Tensor], tmp_path: Path) -> None:
    trap = tmp_path / "sprung"
    path = write_pth(tmp_path / "a.pth", state, f"Net(x=__import__('os').mkdir({str(trap)!r}))")
    assert "does not say how its network is built" in said(path)
    assert not trap.exists()


def test_folders_that_lack_something(state: dict[str, Tensor], tmp_path: Path) -> None:
    assert "has no config.json" in said(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert "has no model.safetensors" in said(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "is broken: Expecting property name"),
        ("", "is broken"),
        ("[1, 2]", "holds a list"),
        ("\x00" * 9, "is broken"),
        ("[" * 100_000, "is broken: not JSON text"),
    ],
)
def test_a_broken_config(text: str, words: str, state: dict[str, Tensor], tmp_path: Path) -> None:
    path = folder(tmp_path, state)
    (path / "config.json").write_text(text)
    with pytest.raises(WeightsError, match=r"config\.json") as caught:
        read_checkpoint(path)
    assert words in str(caught.value)


def test_other_paths(tmp_path: Path) -> None:
    assert "does not exist" in said(tmp_path / "none.pth")
    (tmp_path / "a.zip").write_bytes(b"PK")
    assert "neither a .safetensors nor a .pth file" in said(tmp_path / "a.zip")


def test_a_home_folder_is_understood(
    state: dict[str, Tensor], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder(tmp_path, state)
    assert read_checkpoint("~/weights").state


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_that_may_not_be_read(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = bare(tmp_path, state)
    path.chmod(0)
    assert "cannot be read: permission denied" in said(path)
