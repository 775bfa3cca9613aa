"""A comparison that is replaced is there until the new one is whole, whatever happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from align3r.config import Options, OutputOptions
from align3r.errors import UsageError
from align3r.evaluate import comparing
from align3r.evaluate.comparing import compare
from align3r.reconstruction import Reconstruction

OPTIONS = Options(
    model="geometric", output=OutputOptions(html=False, pictures=False, overwrite=True)
)
PLAIN = Options(model="geometric")


class Killed(Exception):
    """Nothing catches it."""


@pytest.fixture(autouse=True)
def quick(make_scene: Callable[..., Reconstruction], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run gives the same small scene."""

    def reconstruct(source: Any, *, out: Path, options: Options, **_: Any) -> None:
        make_scene(3).save(out, options=OPTIONS.output)

    monkeypatch.setattr(comparing.pipeline, "reconstruct", reconstruct)


@pytest.fixture
def earlier(tmp_path: Path, make_clip: Callable[..., Path]) -> Path:
    """A comparison that is there already."""
    out = tmp_path / "both"
    compare(make_clip(), out, vary=["solver"], options=OPTIONS)
    (out / "compare.md").write_text("mine")
    return out


def test_the_earlier_one_is_in_place_while_the_report_is_written(
    earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    write = comparing.write_report

    def note(*args: Any) -> None:
        seen.append((earlier / "compare.md").read_text() == "mine")
        write(*args)

    monkeypatch.setattr(comparing, "write_report", note)
    compare(earlier.with_name("clip.mp4"), earlier, options=OPTIONS)
    assert seen == [True]
    assert set(json.loads((earlier / "compare.json").read_text())["runs"]) == {"depth", "scale"}
    assert {path.name for path in earlier.parent.iterdir()} == {"both", "clip.mp4"}


def test_what_a_killed_run_had_put_aside_is_put_back(
    earlier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip, aside = earlier.with_name("clip.mp4"), earlier.with_name(".both.old")
    earlier.rename(aside)
    with monkeypatch.context() as patch:

        def fails(*_: Any) -> None:
            raise Killed

        patch.setattr(comparing, "write_report", fails)
        with pytest.raises(Killed):
            compare(clip, earlier, options=OPTIONS)
    assert (earlier / "compare.md").read_text() == "mine" and not aside.exists()
    earlier.rename(aside)
    with pytest.raises(UsageError, match="exists already"):
        compare(clip, earlier, options=PLAIN)
    assert (earlier / "compare.md").read_text() == "mine"
    compare(clip, earlier, options=OPTIONS)
    assert (earlier / "compare.md").read_text() != "mine" and not aside.exists()
