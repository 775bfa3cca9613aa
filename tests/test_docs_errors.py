"""Troubleshooting speaks of errors that exist, under their codes, and leaves no code out."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from align3r.cli import batch, main

DOCS = Path(__file__).resolve().parents[1] / "docs"
PACKAGE = DOCS.parent / "align3r"
sys.path.insert(0, str(DOCS / "extensions"))
import messages  # noqa: E402  (of the documentation)

BY_ITSELF = {0: "fine", 1: "unforeseen", batch.SOME_FAILED: "batch", main.INTERRUPTED: "interrupt"}
"""Codes that no class of the family has."""


def documented() -> list[tuple[int, str]]:
    """Exit code and sentence of every row of the page's tables of errors."""
    rows: list[tuple[int, str]] = []
    code = -1
    for line in (DOCS / "troubleshooting.md").read_text(encoding="utf-8").splitlines():
        if found := re.match(r"## Exit code (\d+)", line):
            code = int(found[1])
        elif line.startswith("## "):
            code = -1
        elif code >= 0 and (found := re.match(r"\| `([^`]+)` \| [^|]+ \| [^|]+ \|$", line)):
            rows.append((code, found[1]))
    return rows


ALL = messages.all_messages(PACKAGE)
ROWS = documented()


def test_all_of_the_code_is_read() -> None:
    assert len(ALL) > 150
    assert {one.code for one in ALL} == {2, 3, 4, 5, 6}
    assert any(one.text == "… exists already" and "--overwrite" in one.hint for one in ALL)


@pytest.mark.parametrize(("code", "text"), ROWS, ids=[text[:40] for _, text in ROWS])
def test_a_documented_error_exists(code: int, text: str) -> None:
    wanted = messages.pattern(text)
    assert any(one.code == code and wanted.match(one.text) for one in ALL), (
        f"no error of exit code {code} reads {text!r}"
    )


def test_every_exit_code_is_documented() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    family = set(messages.exit_codes(PACKAGE).values())
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    sections = {int(code) for code in re.findall(r"^## Exit code (\d+)", page, re.MULTILINE)}
    assert rows == family | set(BY_ITSELF)
    assert sections == rows - {0}
    assert {code for code, _ in ROWS} == family - {1}


def test_the_classes_named_are_those_of_the_family() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    for name, code in messages.exit_codes(PACKAGE).items():
        if name != "Align3rError":
            assert re.search(rf"^\| {code} \|.*`{name}`", page, re.MULTILINE), name


def test_the_reader_of_messages(tmp_path: Path) -> None:
    (tmp_path / "errors.py").write_text(
        "class Align3rError(Exception):\n    exit_code = 1\n"
        "class InputError(Align3rError):\n    exit_code = 3\n"
        "class OddError(InputError):\n    pass\n"
    )
    (tmp_path / "some.py").write_text(
        "AGAIN = 'once ' + 'more'\n"
        "raise InputError(f'{a}{b} is {c!r}, not 3', hint=AGAIN)\n"
        "raise OddError('odd', hint=f'{a}')\n"
        "raise InputError(str(error))\n"
        "raise InputError('one' if n == 1 else f'all {n}')\n"
        "raise ValueError('not ours')\n"
    )
    assert messages.all_messages(tmp_path) == [
        messages.Message(3, "InputError", "all …", "", "some"),
        messages.Message(3, "InputError", "one", "", "some"),
        messages.Message(3, "InputError", "… is …, not 3", "once more", "some"),
        messages.Message(3, "OddError", "odd", "", "some"),
    ]
    assert messages.pattern("… is …, not 3").match("x is y, not 3")
    assert not messages.pattern("… is …, not 3").match("x is y, not 34")
