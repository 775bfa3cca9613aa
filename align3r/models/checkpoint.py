"""Checkpoint files: what is in them, read without running anything that they hold.

A checkpoint is a folder as on the hub (config.json and model.safetensors, or model.pt with both in
it), a .safetensors file, or a .pth file. Tensors are mapped, not read: what nobody looks at costs
no memory.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from align3r.errors import WeightsError
from align3r.models.constructor import parse_constructor
from align3r.models.pickled import describe_tensor, load_pickled

CONFIG, TENSORS, BOTH = "config.json", "model.safetensors", "model.pt"
PICKLED = (".pth", ".pt", ".ckpt", ".bin")
HINT = "fetch it again, or name other weights: a .safetensors or .pth file, or a folder of the hub"


@dataclass(frozen=True)
class Checkpoint:
    """Tensors by name, and the arguments that their network was built with."""

    path: Path
    """The file that holds the tensors."""
    config: dict[str, Any]
    """Constructor arguments; empty where the file says nothing about them."""
    state: dict[str, Tensor]
    """Every tensor, on the CPU; names that share a tensor are all there."""


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read a folder in hub layout, a .safetensors file or a .pth file.

    A single file without a config of its own takes the config.json beside it, if there is one.

    Raises:
        WeightsError: There is no such file, it is cut off, or it is something else than weights.
    """
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            return _read_folder(path)
        if not path.is_file():
            raise WeightsError(f"{path} does not exist", hint="check the path")
        _refuse_what_is_no_checkpoint(path)
        if path.suffix == ".safetensors":
            return Checkpoint(path, _config_beside(path), _read_safetensors(path))
        if path.suffix in PICKLED:
            config, state = _read_pickled(path)
            return Checkpoint(path, config or _config_beside(path), state)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WeightsError(f"{path} cannot be read: {reason}", hint=HINT) from error
    raise WeightsError(
        f"{path} is neither a .safetensors nor a .pth file",
        hint="a folder with config.json and model.safetensors is fine too",
    )


def read_config(path: Path) -> dict[str, Any]:
    """A config.json; infinities may be the tokens `Infinity` and `-Infinity`, as on the hub.

    Raises:
        WeightsError: The file is not a JSON object.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, json.JSONDecodeError) else "not JSON text"
        raise WeightsError(f"{path} is broken: {reason}", hint=HINT) from error
    if not isinstance(config, dict):
        raise WeightsError(f"{path} holds a {type(config).__name__}, not an object", hint=HINT)
    return config


def _read_folder(folder: Path) -> Checkpoint:
    if (folder / BOTH).is_file() and not (folder / TENSORS).is_file():
        return read_checkpoint(folder / BOTH)
    for name in (CONFIG, TENSORS):
        if not (folder / name).is_file():
            raise WeightsError(
                f"{folder} has no {name}",
                hint=f"a folder of weights holds {CONFIG} and {TENSORS}; a single file is fine too",
            )
    _refuse_what_is_no_checkpoint(folder / TENSORS)
    state = _read_safetensors(folder / TENSORS)
    return Checkpoint(folder / TENSORS, read_config(folder / CONFIG), state)


def _config_beside(path: Path) -> dict[str, Any]:
    beside = path.with_name(CONFIG)
    return read_config(beside) if beside.is_file() else {}


def _refuse_what_is_no_checkpoint(path: Path) -> None:
    """Name what a failed download or an unfinished git clone leaves under the name of a file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        raise WeightsError(f"{path} is empty", hint=HINT)
    if start.startswith(b"version https://git-lfs"):
        raise WeightsError(
            f"{path} is a Git LFS pointer of {size} bytes, not the weights",
            hint="run `git lfs pull` in its repository, or name other weights",
        )
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise WeightsError(f"{path} is a web page of {size} bytes, not weights", hint=HINT)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}
            shared = file.metadata() or {}
    except (SafetensorError, KeyError, AttributeError, TypeError, ValueError) as error:
        # Number formats that this torch does not know come as one of the others.
        raise WeightsError(f"{path} {_damage(path, error)}", hint=HINT) from error
    # A tensor with two names is stored under one; the metadata maps the other to it.
    for name, stored in shared.items():
        if stored in state:
            state.setdefault(name, state[stored])
    return state


def _damage(path: Path, error: Exception) -> str:
    """What is wrong with a safetensors file: "is cut off: 3 of 7 bytes", where that is it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        end = 8 + int.from_bytes(file.read(8), "little")
        # Text at the start reads as an absurd length.
        if end > min(size, 100_000_000):
            return f"is no safetensors file, or less than its header is there ({size} bytes)"
        try:
            entries = json.loads(file.read(end - 8))
            end += max(e["data_offsets"][1] for n, e in entries.items() if n != "__metadata__")
        except (ValueError, TypeError, KeyError, IndexError, AttributeError):
            return "is no safetensors file: its header is not JSON of the expected form"
    if size < end:
        return f"is cut off: {size} of {end} bytes are there"
    return f"is a damaged safetensors file: {error}"


def _read_pickled(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config (may be empty) and tensors of a file that torch.save wrote."""
    return _config_and_state(load_pickled(path, hint=HINT), path)


def _config_and_state(loaded: Any, path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    state = loaded
    config, text = {}, None
    if isinstance(loaded, dict) and isinstance(loaded.get("model"), dict):
        state, text = loaded["model"], getattr(loaded.get("args"), "model", None)
        # The one is how DUSt3R keeps its config, the other how MoGe does.
        config = loaded.get("model_config", {})
    if not isinstance(state, dict) or not state:
        raise WeightsError(f"{path} holds a {type(state).__name__}, not tensors by name", hint=HINT)
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(
                f"{path} holds a value of type {type(value).__name__} under {name!r}, not a tensor",
                hint="a .pth file is a state dict, or a dict with the state dict under 'model'",
            )
        if wrong := describe_tensor(value):
            raise WeightsError(f"{path} holds {wrong} under {name[:80]!r}", hint=HINT)
    if not isinstance(config, dict):
        raise WeightsError(f"{path} has a {type(config).__name__} for a config", hint=HINT)
    try:
        return (parse_constructor(text) if isinstance(text, str) else config), state
    except ValueError as error:
        raise WeightsError(
            f"{path} does not say how its network is built: {error}",
            hint="name the folder of the same weights in hub layout instead",
        ) from error
