"""What `align3r doctor` says of a machine, and what it returns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from align3r.cli.doctor import EXTRAS, LIBRARIES, SELF_TESTS
from align3r.cli.main import main

REPOSITORY = Path(__file__).resolve().parents[2]
Captured = pytest.CaptureFixture[str]


def test_doctor_says_that_all_is_well(capsys: Captured) -> None:
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    for name in ("torch", "device (auto)", "free memory", "ffmpeg", "all is well"):
        assert name in shown


def test_doctor_names_what_the_package_and_its_extras_need() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    (core,) = re.findall(r"^dependencies = \[(.*?)^\]", project, re.DOTALL | re.MULTILINE)
    named = re.compile(r'"([\w-]+)>=')
    assert sorted(LIBRARIES) == sorted(named.findall(core))
    extras = re.findall(r"^(\w+) = (\[.*)\]$", project.partition("optional-")[2], re.MULTILINE)
    ours = [(extra, needed) for extra, needed in extras if extra not in ("docs", "test")]
    found = {name: extra for extra, needed in ours for name in named.findall(needed)}
    assert found == EXTRAS


def test_doctor_says_which_extra_is_missing(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(EXTRAS, "no-such-library", "train")
    assert main(["doctor"]) == 0
    missing = r"^no-such-library +not installed: pip install 'align3r\[train\]'$"
    assert re.search(missing, capsys.readouterr().out, re.MULTILINE)


def test_doctor_fails_when_something_does(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ValueError("the flow is wrong")

    monkeypatch.setitem(SELF_TESTS, "dense flow", broken)
    assert main(["doctor"]) == 1
    assert "FAILED dense flow: ValueError: the flow is wrong" in capsys.readouterr().out
