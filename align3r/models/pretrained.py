"""Networks of `transformers`, loaded from a folder."""

from __future__ import annotations

import importlib
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from align3r.errors import MissingExtraError, WeightsError
from align3r.models.checkpoint import read_config

log = logging.getLogger(__name__)

_FOREIGN = (
    "auto_map",
    "quantization_config",
    "use_kernels",
    "use_pretrained_backbone",
    "use_timm_backbone",
)
_HINT = "a network is a folder with config.json and model.safetensors"


def load_pretrained(
    folder: Path,
    architecture: str,
    *,
    device: torch.device,
    dtype: torch.dtype,
    unused: str = "",
) -> Any:
    """A network with the weights of a folder, ready to be asked.

    Args:
        folder: With config.json and model.safetensors.
        architecture: Name of the class in `transformers`.
        device: Where it shall compute.
        dtype: In which numbers.
        unused: Pattern of tensors that may be missing, for what is asked of the network does not
            depend on them.

    Raises:
        WeightsError: The folder is damaged, or holds another network.
        MissingExtraError: The installed `transformers` does not have this network.
    """
    network_class = _network_class(architecture)
    wanted, found = network_class.config_class.model_type, _model_type(folder)
    if found != wanted:
        raise WeightsError(f"{folder} holds a network of type {found}, not {wanted}", hint=_HINT)
    try:
        with _quiet_transformers():
            network, loaded = network_class.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:  # the libraries underneath raise a dozen unrelated classes
        raise WeightsError(
            f"the network in {folder} is damaged: {_first_cause(error)}", hint=_HINT
        ) from error
    missing = [name for name in loaded["missing_keys"] if not re.search(unused or "$^", name)]
    if missing:
        raise WeightsError(
            f"the weights in {folder} do not match its config.json: {_some(missing)} missing",
            hint="its files do not belong together: download them again",
        )
    if extra := loaded["unexpected_keys"]:
        log.warning("in %s, %s of no use", folder, _some(extra))
    return network.to(device=device, dtype=dtype).eval()


def _some(names: Iterable[str]) -> str:
    """ "a.weight is", or "12 tensors, such as a.weight, are"."""
    first, *rest = sorted(names)
    return f"{len(rest) + 1} tensors, such as {first}, are" if rest else f"{first} is"


def _network_class(architecture: str) -> Any:
    try:
        return getattr(importlib.import_module("transformers"), architecture)
    except (ImportError, RuntimeError, AttributeError) as error:
        raise MissingExtraError(
            f"{architecture} cannot be imported from transformers: {_first_cause(error)}",
            hint="update transformers; if torchvision is installed, it must be the one made for "
            "this torch (no torchvision is fine too)",
        ) from error


def _first_cause(error: BaseException) -> str:
    """What went wrong at the bottom of a chain of exceptions, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).partition("\n")[0]


def _model_type(folder: Path) -> str:
    """What kind of network the config says; one that wants more than this folder is refused."""
    try:
        config = read_config(folder / "config.json")
        kind = str(config["model_type"])[:80]
    except (OSError, KeyError, WeightsError) as error:
        raise WeightsError(f"{folder} holds no network with a config.json", hint=_HINT) from error
    if wish := _foreign(config):
        raise WeightsError(
            f"config.json in {folder} asks for {wish}, which is not in this folder",
            hint="nothing else is fetched or run: take weights that need their own files alone",
        )
    return kind


def _foreign(value: Any) -> str | None:
    """A wish for code, or for files from elsewhere, anywhere in a config; None if there is none.

    Transformers may fetch and run them: attention kernels by the name of a repository, classes of
    an `auto_map`, backbones with weights of their own.
    """
    if isinstance(value, list):
        return next((wish for wish in map(_foreign, value) if wish), None)
    if not isinstance(value, dict):
        return None
    for key, inner in value.items():
        names_repository = "attn_implementation" in key and "/" in str(inner)
        if names_repository or (key in _FOREIGN and inner):
            return str(key)[:80]
        if wish := _foreign(inner):
            return wish
    return None


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Transformers prints no bars and no reports inside: what is wrong is said by our own error."""
    chatter: Any = importlib.import_module("transformers.utils.logging")
    level, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity(chatter.CRITICAL)
    chatter.disable_progress_bar()
    try:
        yield
    finally:
        chatter.set_verbosity(level)
        if bars:
            chatter.enable_progress_bar()
