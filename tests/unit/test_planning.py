"""What a run may use: the space on the disk is what is free and what it has taken itself."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from align3r import planning
from align3r.config import Options
from align3r.io import storage
from align3r.planning import room_of

FREE = 1000


@pytest.fixture(autouse=True)
def disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.shutil, "disk_usage", lambda _: SimpleNamespace(free=FREE))


def test_files_of_the_run_are_written_over(tmp_path: Path) -> None:
    out, pairs, other = tmp_path / "out", tmp_path / "pairs", tmp_path / "other pairs"
    assert room_of(Options(), out, shared_pairs=pairs).disk == FREE
    for folder, size in ((tmp_path / ".out.cache", 3), (pairs, 20), (other, 500)):
        folder.mkdir()
        (folder / "a.npy").write_bytes(bytes(size))
    assert room_of(Options(), out).disk == FREE + 3
    assert room_of(Options(), out, shared_pairs=pairs).disk == FREE + 23


def test_temporary_files_of_others_stay_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "scratch_place", lambda: tmp_path)
    (tmp_path / "somebody's.bin").write_bytes(bytes(50))
    assert room_of(Options(), None).disk == FREE
