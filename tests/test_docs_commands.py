"""What the README and the pages tell people to type is understood by the commands."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import align3r
from align3r.cli import arguments
from align3r.cli.main import COMMANDS
from align3r.reconstruction import Reconstruction

REPOSITORY = Path(__file__).resolve().parents[1]
README = REPOSITORY / "README.md"
PAGES = [README, *sorted((REPOSITORY / "docs").glob("*.md"))]


class Understood(BaseException):
    """The words were parsed; what the command would do is not done."""


def blocks(page: Path, language: str) -> Iterator[str]:
    """The code blocks of a page in one language."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[list[str]]:
    """Every `align3r COMMAND ...` of a page, as words: in shell blocks, and in the text where it
    is no pattern with dots, bars or brackets. Continued lines are joined.
    """
    shell = "".join(blocks(page, "bash")).replace("\\\n", " ")
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    told = re.findall(r"`(align3r \w+ [^-`][^`]*)`", prose)  # that say what to work on
    told = [span for span in told if not re.search(r"[…|[]", span)]
    lines = [re.sub(r"^(\w+=\S+ )+", "", line) for line in shell.splitlines()]
    words = [shlex.split(line, comments=True) for line in [*lines, *told]]
    return [one[1:] for one in words if one[:1] == ["align3r"] and one[1] in COMMANDS]


TYPED = [(page.name, words) for page in PAGES for words in commands(page)]


def test_there_is_something_to_check() -> None:
    assert sum(name == "README.md" for name, _ in TYPED) >= 4
    assert {words[0] for _, words in TYPED} == set(COMMANDS)


@pytest.mark.parametrize(
    ("page", "words"), TYPED, ids=[f"{page}: {' '.join(words)[:60]}" for page, words in TYPED]
)
def test_a_command_is_understood(
    page: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    true_parse = arguments.parse

    def parse(*args: Any, **kwargs: Any) -> Any:
        true_parse(*args, **kwargs)
        raise Understood

    for name in COMMANDS:
        module = importlib.import_module(f"align3r.cli.{name}")
        if hasattr(module, "parse"):
            monkeypatch.setattr(module, "parse", parse)
    with pytest.raises((Understood, SystemExit)) as ended:
        importlib.import_module(f"align3r.cli.{words[0]}").run(words[1:])
    assert ended.type is Understood or ended.value.code == 0


PYTHON = [(page.name, block) for page in PAGES for block in blocks(page, "python")]


@pytest.mark.parametrize(("page", "block"), PYTHON, ids=[page for page, _ in PYTHON])
def test_python_on_a_page_uses_names_that_exist(page: str, block: str) -> None:
    fields = {one.name for one in dataclasses.fields(Reconstruction)}
    known = {"align3r": set(align3r.__all__), "scene": fields | set(dir(Reconstruction))}
    for node in ast.walk(ast.parse(block)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = known.get(node.value.id)
            submodule = node.value.id == "align3r" and importlib.util.find_spec(
                f"align3r.{node.attr}"
            )
            assert names is None or node.attr in names or submodule, ast.unparse(node)


def test_two_commands_are_all_set_up_and_ci_runs_the_same() -> None:
    readme, ci = README.read_text(encoding="utf-8"), (REPOSITORY / ".ci" / "run").read_text()
    shell = "".join(blocks(README, "bash"))
    assert "pip install -e .\nalign3r reconstruct examples/clip.mp4 -o out\n" in shell
    assert "pip install -e '.[test]'\npytest\n" in shell
    assert re.search(r"^pip install (-q )?-e '\.\[test\]'$", ci, re.MULTILINE)
    assert re.search(r"^pytest$", ci, re.MULTILINE)
    assert re.search(r"^sphinx-build -W ", ci, re.MULTILINE)
    assert len(readme.splitlines()) < 120


def test_what_the_readme_links_to_is_there() -> None:
    text = README.read_text(encoding="utf-8")
    places = [place.partition("#") for place in re.findall(r"\]\(([^)]+)\)", text)]
    assert len(places) > 10
    for place, _, anchor in places:
        target = REPOSITORY / place
        assert target.exists(), place
        if anchor:
            heads = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{place}#{anchor}"


def test_the_tests_have_every_extra() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    extras = project.split("[project.optional-dependencies]")[1].split("\n[")[0]
    names = set(re.findall(r"^(\w+) = \[", extras, re.MULTILINE))
    tested = re.search(r'^test = \[\s*"align3r\[([\w,]+)\]"', extras, re.MULTILINE)
    assert tested and set(tested[1].split(",")) == names - {"test"}
