"""All readers of images, pairs and samples: broken files, other folders, other kinds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_set_samples import (
    SAMPLES,
    broken,
    copied,
)

from align3r.datasets import scannet1500
from align3r.datasets.table import DATASETS, dataset
from align3r.errors import Align3rError, InputError, UsageError


def everything_of(name: str, root: Path) -> None:
    """Read all that there is to be read of a data set."""
    settings: dict[str, Any] = {"set_list": None, "quality": None} if name == "co3d" else {}
    row = replace(dataset(name), settings=settings)
    if row.kind == "pairs":
        scannet1500.read_pairs(root, intrinsics="colour")
    for each in row.names(root):
        if row.kind == "pairs":
            row.read_pairs(root, each)
        elif row.kind == "samples":
            row.read_sample(root, each)
        elif row.kind == "images":
            list(row.stream(root, each))
        else:
            sequence = row.read(root, each)
            for i in range(len(sequence)):
                sequence.image(i)
                if sequence.truth.depth is not None:
                    sequence.truth.depth(i)


MIXED = {
    "co3d": "co3d",
    "co3d-evaluation": "co3d",
    "re10k": "re10k",
    "scannet1500": "scannet1500",
    "moge": "moge_eval",
    "sa1b": "sa1b",
}


@pytest.mark.parametrize("name", MIXED)
def test_broken_files_are_refused_in_words(name: str, tmp_path: Path) -> None:
    root = copied(MIXED[name], tmp_path)
    shutil.copy(SAMPLES / "co3d_vggt_annotations/apple_test.jgz", root)
    everything_of(name, root)
    rng = np.random.default_rng(0)
    for path in one_of_each(root):
        whole = path.read_bytes()
        for data in broken(whole, rng):
            path.write_bytes(data)
            try:
                everything_of(name, root)
            except Align3rError as error:
                assert error.hint and "\n" not in str(error)
        path.write_bytes(whole)


def one_of_each(root: Path) -> list[Path]:
    """A file of each folder and kind."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return list({(path.parent, path.suffix): path for path in files}.values())


@pytest.mark.parametrize("name", MIXED)
def test_another_folder_is_refused_in_words(name: str, tmp_path: Path) -> None:
    row = DATASETS[name]
    with pytest.raises(InputError, match="holds no") as error:
        row.names(tmp_path)
    assert row.layout in error.value.hint
    reads = {"pairs": row.read_pairs, "samples": row.read_sample, "images": row.stream}
    read: Callable[[Path, str], Any] = reads.get(row.kind, row.read)
    for asked in ("nothing", "no/thing", "", "../x", "/etc"):
        with pytest.raises(InputError, match="there is no sequence"):
            read(tmp_path, asked)


def test_a_data_set_is_read_as_what_it_is() -> None:
    for name in ("scannet1500", "moge", "sa1b"):
        with pytest.raises(UsageError, match="not video"):
            DATASETS[name].read(SAMPLES, "any")
    with pytest.raises(UsageError, match="holds video, not pairs"):
        DATASETS["co3d"].read_pairs(SAMPLES, "any")
