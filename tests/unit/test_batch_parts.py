"""Names, inputs and the manifest of a batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from align3r.batch.inputs import find_videos
from align3r.batch.manifest import Entry, Manifest
from align3r.batch.naming import result_names
from align3r.errors import InputError, UsageError


def names(*sources: str, taken: dict[str, str] | None = None) -> list[str]:
    paths = [Path(source) for source in sources]
    found = result_names(paths, {Path(k): v for k, v in (taken or {}).items()})
    return [found[path] for path in paths]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        (["/v/a.mp4", "/v/b.mp4"], ["a", "b"]),
        (["/x/a.mp4", "/y/a.mp4", "/y/b.mp4"], ["x_a", "y_a", "b"]),
        (["/1/x/a.mp4", "/2/x/a.mp4"], ["1_x_a", "2_x_a"]),
        (["/v/a.mp4", "/v/a.mov"], ["a_mp4", "a_mov"]),
        (["/v/A.mp4", "/w/a.mp4"], ["v_A", "w_a"]),
        (["/v/logs.mp4", "/v/.hidden.mp4", "/v/...mp4"], ["v_logs", "hidden", "video"]),
        (["/a.mp4"], ["a"]),
    ],
)
def test_names(sources: list[str], expected: list[str]) -> None:
    assert names(*sources) == expected


def test_a_name_that_was_given_stays() -> None:
    assert names("/x/a.mp4", "/y/a.mp4", taken={"/x/a.mp4": "a"}) == ["a", "y_a"]


@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from(["x", "y", "X", "x_y", ".", "logs"]), max_size=3),
            st.sampled_from(["a", "A", "x_a", "a_mp4", "..", "logs", "batch.json"]),
            st.sampled_from([".mp4", ".mov", ""]),
        ),
        max_size=12,
    )
)
def test_no_two_names_are_alike(parts: list[tuple[list[str], str, str]]) -> None:
    sources = list(dict.fromkeys(Path("/", *folders, stem + end) for folders, stem, end in parts))
    found = result_names(sources, {})
    assert set(found) == set(sources)
    folded = [name.casefold() for name in found.values()]
    assert len(set(folded)) == len(folded) and not {"logs", "batch.json"} & set(folded)
    assert all(Path(name).name == name and name not in ("", ".", "..") for name in found.values())
    # One more video changes no name that was given.
    more = result_names([*sources, Path("/new/a.mp4")], found)
    assert {source: more[source] for source in sources} == found


def test_inputs_of_all_kinds(tmp_path: Path) -> None:
    films, frames = tmp_path / "films", tmp_path / "frames"
    films.mkdir()
    frames.mkdir()
    for name in ("10.mp4", "9.mov", "notes.md"):
        (films / name).write_bytes(b"x")
    (frames / "0.png").write_bytes(b"x")
    found = find_videos([films, frames, str(films / "*.mp4"), tmp_path / "gone.mp4"])
    assert [path.name for path in found] == ["9.mov", "10.mp4", "frames", "gone.mp4"]
    assert all(path.is_absolute() for path in found)
    with pytest.raises(UsageError, match="1 of 2 inputs are single images"):
        find_videos([frames / "0.png", films / "9.mov"])
    with pytest.raises(UsageError, match="matches nothing"):
        find_videos([str(films / "*.webm")])
    with pytest.raises(UsageError, match="no video"):
        find_videos([])


def test_the_manifest_comes_back(tmp_path: Path) -> None:
    book = Manifest.read(tmp_path)
    assert book.entries == {}
    entry = Entry("a", "key", "done", frames=3, seconds=1.5, attempts=2)
    failed = Entry("b", "", "failed", exit_code=3, error="no", hint="yes")
    book.put({Path("/v/a.mp4"): entry})
    book.put({Path("/v/b.mp4"): failed})
    assert Manifest.read(tmp_path).entries == {Path("/v/a.mp4"): entry, Path("/v/b.mp4"): failed}
    assert [path.name for path in tmp_path.iterdir()] == ["batch.json"]


def broken(**changes: Any) -> str:
    row = {"out": "a", "key": "k", "state": "done", **changes}
    videos = {"/v/a.mp4": {key: value for key, value in row.items() if value != "left out"}}
    return json.dumps({"format": "align3r-batch", "version": 1, "videos": videos})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        "[" * 100_000,
        '{"format": "align3r-batch", "version": 2, "videos": {}}',
        '{"format": "align3r-batch", "version": 1, "videos": []}',
        broken(out="../a"),
        broken(out="/etc"),
        broken(out=".."),
        broken(out=7),
        broken(state="gone"),
        broken(exit_code="0"),
        broken(more=1),
        broken(key="left out"),
    ],
)
def test_a_manifest_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "batch.json").write_text(text)
    with pytest.raises(InputError, match="not the manifest"):
        Manifest.read(tmp_path)
