"""Broken files from whole ones, by what is known of their format. Seeded."""

from __future__ import annotations

import warnings
from pathlib import Path

from fuzz_arrays import (
    broken_directory,
    npy_array,
    npz_array,
    npz_members,
    safetensors,
    torch_objects,
    zip_again,
)
from fuzz_bytes import ANY, Mutation, Rng, json_deep, json_value, splice, text_lines, text_word

_TEXT: tuple[Mutation, ...] = (text_word, text_word, text_lines)
_BY_SUFFIX: dict[str, tuple[Mutation, ...]] = {
    ".txt": _TEXT,
    ".json": (*_TEXT, json_value, json_value, json_value, json_value, json_deep),
    ".npy": (npy_array,),
    ".safetensors": (safetensors,),
    ".pth": (torch_objects, zip_again, broken_directory),
    ".pt": (torch_objects, zip_again, broken_directory),
    ".npz": (npz_array, npz_array, npz_members, broken_directory),
}


def mutate(data: bytes, name: str, rng: Rng, *, others: list[bytes]) -> bytes:
    """A broken copy of a file.

    Args:
        data: Its content.
        name: Its name; mutations that know the format go by its suffix.
        rng: Where all chance comes from.
        others: Contents of other files, to splice with.
    """
    kinds = _BY_SUFFIX.get(Path(name).suffix.lower(), ())
    if kinds and rng.random() < 0.55:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # zipfile warns of names that are there twice
            return kinds[rng.integers(len(kinds))](data, rng)
    for _ in range(int(rng.choice((1, 1, 1, 2, 3)))):
        if rng.random() < 0.1:
            data = splice(data, others[rng.integers(len(others))], rng)
        else:
            data = ANY[rng.integers(len(ANY))](data, rng)
    return data
