"""What a depth network is to the rest, and how one of `transformers` is loaded from a folder."""

from __future__ import annotations

import importlib
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from align3r.errors import MissingExtraError, WeightsError
from align3r.io.priors import Kind, PriorMap

log = logging.getLogger(__name__)

_HINT = "a depth network is a folder with config.json and model.safetensors"


class DepthNetwork(Protocol):
    """Tells depth from single images."""

    @property
    def name(self) -> str:
        """For people."""

    @property
    def kind(self) -> Kind:
        """What its values are."""

    @property
    def is_metric(self) -> bool:
        """Whether its depth claims to be in metres."""

    @property
    def batch(self) -> int:
        """How many images to give it at once."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[PriorMap]:
        """The values at the size of the images, (H, W, 3) uint8 RGB, all of one size."""


def load_network(
    folder: Path, architecture: str, *, device: torch.device, dtype: torch.dtype
) -> Any:
    """A network of `transformers` with the weights of a folder, ready to be asked.

    Args:
        folder: With config.json and model.safetensors.
        architecture: Name of the class in `transformers`.
        device: Where it shall compute.
        dtype: In which numbers.

    Raises:
        WeightsError: The folder is damaged, or holds another network.
        MissingExtraError: `transformers` cannot be imported as it is installed.
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
    # A parameter for training only, which some exports leave out.
    missing = sorted(key for key in loaded["missing_keys"] if not key.endswith("mask_token"))
    if missing:
        raise WeightsError(
            f"{len(missing)} weights of the network in {folder} are missing, such as {missing[0]}",
            hint="its files do not belong together: download them again",
        )
    if extra := sorted(loaded["unexpected_keys"]):
        log.warning("%d weights in %s are of no use, such as %s", len(extra), folder, extra[0])
    return network.to(device=device, dtype=dtype).eval()


def _network_class(architecture: str) -> Any:
    try:
        return getattr(importlib.import_module("transformers"), architecture)
    except (ImportError, RuntimeError, AttributeError) as error:
        raise MissingExtraError(
            f"{architecture} cannot be imported from transformers: {_first_cause(error)}",
            hint="install the torchvision made for this torch, or none; transformers 4.51 or newer",
        ) from error


def _first_cause(error: BaseException) -> str:
    """What went wrong at the bottom of a chain of exceptions, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).partition("\n")[0]


def _model_type(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(config["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{folder} holds no network with a config.json", hint=_HINT) from error


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
