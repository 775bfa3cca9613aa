"""What torch.save wrote, read without running anything that is in it."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from align3r.errors import WeightsError
from align3r.models.stand_ins import STAND_INS

_ZIP = b"PK\x03\x04"


def load_pickled(path: Path, *, hint: str) -> Any:
    """What is in a file: tensors and plain values. Tensors are mapped, if the file is an archive.

    Args:
        path: The file.
        hint: What a person could do if it is no such file.

    Raises:
        WeightsError: It is damaged, cut off, compressed, or asks for something to be run.
        OSError: It cannot be read.
    """
    is_zip = zipfile.is_zipfile(path)
    with path.open("rb") as file:
        if file.read(4) == _ZIP and not is_zip:
            raise WeightsError(f"{path} is cut off: the end of the archive is missing", hint=hint)
    size = path.stat().st_size
    try:
        if is_zip:
            _refuse_compressed(path)
        # Training checkpoints keep their command line: a Namespace, the one class let in, or a
        # config, of whose classes there are the names alone.
        allowed: list[Any] = [argparse.Namespace, *STAND_INS]
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            # Remarks on pickles of other kinds; what comes of them is said by our own errors.
            warnings.simplefilter("ignore", UserWarning)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        foreign = re.search(r"GLOBAL (\S+)", str(error))
        if foreign is None:
            raise WeightsError(
                f"{path} is damaged, or nothing that torch.save wrote ({size} bytes)", hint=hint
            ) from error
        raise WeightsError(
            f"{path} asks for {foreign[1][:80]} when it is opened, and such files are not read",
            hint="only tensors and plain values are loaded; take the weights as .safetensors",
        ) from error
    except OSError:
        raise
    except Exception as error:  # damaged bytes reach deep into the reader, and raise anything
        raise WeightsError(
            f"{path} is damaged, or nothing that torch.save wrote ({size} bytes)", hint=hint
        ) from error


def describe_tensor(tensor: Tensor) -> str | None:
    """What keeps a tensor of a file from being weights; None if nothing does."""
    if tensor.layout is not torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        return f"a tensor of layout {tensor.layout}, device {tensor.device}, {tensor.dtype}"
    # A view that repeats its numbers would take as much memory as it promises, when it is used.
    held = tensor.untyped_storage().nbytes()
    if tensor.numel() * tensor.element_size() > held:
        return f"a tensor of {tensor.numel():.3g} numbers in {held} bytes"
    return None


def _refuse_compressed(path: Path) -> None:
    """Refuse archives that grow when they are read: torch.save never compresses.

    Raises:
        ValueError: It is one.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("a compressed archive")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError("an archive that promises more than it has")
