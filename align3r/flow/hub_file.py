"""Weights that torchvision publishes, in the cache that all programs with torch share."""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch

from align3r.errors import WeightsError
from align3r.models.pickled import describe_tensor, load_pickled

log = logging.getLogger(__name__)

_HASH = re.compile(r"-([0-9a-f]{8,64})\.")
"""torch.hub's convention: a file name ends in the first digits of the file's SHA-256."""


@dataclass(frozen=True)
class HubFile:
    """One published file."""

    url: str
    title: str
    """What it is, for people."""
    terms: str
    """Its licence and size, said before the first download."""

    @property
    def place(self) -> Path:
        """Where torch keeps it: in TORCH_HOME, or ~/.cache/torch if that is not set."""
        return Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(self.url).path).name)

    def find(self, *, download: bool = True) -> Path:
        """The file in the cache; it is downloaded if it is not there.

        Args:
            download: Whether downloading is allowed; HF_HUB_OFFLINE forbids it for everything.

        Raises:
            WeightsError: It is not there and cannot or must not be downloaded.
        """
        # The one switch for all weights; huggingface_hub knows how it is spelled.
        from huggingface_hub import constants

        place = self.place
        if place.is_file():
            return place
        by_hand = f"put {self.url} at {place}"
        if constants.HF_HUB_OFFLINE:
            raise WeightsError(
                f"{self.title} are not in {place.parent}, and HF_HUB_OFFLINE forbids to download",
                hint=by_hand,
            )
        if not download:
            raise WeightsError(f"{self.title} are not in {place.parent}", hint=by_hand)
        log.warning("%s: downloading once to %s (%s)", self.title, place, self.terms)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            # Written beside the place, and moved there when whole and of the right hash.
            torch.hub.download_url_to_file(
                self.url, str(place), hash_prefix=_expected_hash(place), progress=False
            )
        except (OSError, HTTPException, RuntimeError) as error:
            raise WeightsError(
                f"{self.title} cannot be downloaded: {error}", hint=by_hand
            ) from error
        return place


def read_weights(path: Path) -> dict[str, Any]:
    """Tensors by name; nothing else is ever unpickled.

    Raises:
        WeightsError: There is no such file, its content is not what its name says, or it holds
            something else.
    """
    _check_hash(path)
    try:
        weights = load_pickled(path, hint=_AGAIN)
    except (OSError, WeightsError) as error:
        reason = str(error).removeprefix(f"{path} ")
        raise WeightsError(f"{path} holds no weights: {reason}", hint=_AGAIN) from error
    if not isinstance(weights, dict):
        raise WeightsError(f"{path} holds no weights: a {type(weights).__name__}", hint=_AGAIN)
    for name, value in weights.items():
        if isinstance(value, torch.Tensor) and (wrong := describe_tensor(value)):
            raise WeightsError(f"{path} holds {wrong} under {str(name)[:80]!r}", hint=_AGAIN)
    return weights


_AGAIN = "delete it and download it again"


def _expected_hash(path: Path) -> str | None:
    found = _HASH.search(path.name)
    return found and found[1]


def _check_hash(path: Path) -> None:
    """torch.hub looks at the hash of what it downloads, but not of what is there already."""
    try:
        with path.open("rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read: {error.strerror}", hint="give the path of a weights file"
        ) from error
    expected = _expected_hash(path)
    if expected and not digest.hexdigest().startswith(expected):
        raise WeightsError(
            f"{path} is damaged or cut short: its SHA-256 begins with "
            f"{digest.hexdigest()[: len(expected)]}, not with {expected}",
            hint=_AGAIN,
        )
