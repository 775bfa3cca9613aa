"""Directives that print what the code knows while the site is built, so that no page goes stale.

`commands` (the help of every command) · `models` (weights, sizes, licences) · `messages` (every
error) · `versions` (dependencies of pyproject.toml) · `lessons` (examples/0*.py) ·
`exports` (formats) · `protocols` (of papers) · `datasets` (that can be read).
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from itertools import groupby
from pathlib import Path

from docutils import nodes
from messages import Message, all_messages
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxDirective

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = REPOSITORY / "align3r"


def help_of(words: Sequence[str]) -> str:
    """What `align3r WORDS --help` prints on a terminal of 80 columns."""
    from align3r.cli.main import main

    shown, before = io.StringIO(), os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "80"
    try:
        with contextlib.redirect_stdout(shown):
            code = main([*words, "--help"])
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    if code != 0:
        raise ExtensionError(f"align3r {' '.join(words)} --help ended with {code}")
    return shown.getvalue()


def _section(title: str, *inside: nodes.Node) -> nodes.section:
    name = nodes.make_id(title)
    section = nodes.section("", nodes.title("", title), *inside, ids=[name], names=[title])
    return section


def _block(text: str) -> nodes.container:
    block = nodes.literal_block(text, text, language="none")
    return nodes.container("", block, classes=["help"])


def _table(head: Sequence[str], rows: Iterable[Sequence[nodes.Node | str]]) -> nodes.table:
    """A table of paragraphs; strings are plain text."""

    def row(cells: Sequence[nodes.Node | str]) -> nodes.row:
        found = nodes.row()
        for cell in cells:
            inside = nodes.Text(cell) if isinstance(cell, str) else cell
            found += nodes.entry("", nodes.paragraph("", "", inside))
        return found

    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in head), cols=len(head))
    group += nodes.thead("", row(head))
    group += nodes.tbody("", *(row(cells) for cells in rows))
    return nodes.table("", group)


class Commands(SphinxDirective):
    """The help of the program and of every command, a section each; sorts of a command in it."""

    def run(self) -> list[nodes.Node]:
        """Ask every command for its help."""
        from align3r.cli.main import COMMANDS

        sections = []
        for name, does in COMMANDS.items():
            about = nodes.paragraph("", "", nodes.Text(f"{does[0].upper()}{does[1:]}."))
            sorts = getattr(import_module(f"align3r.cli.{name}"), "SORTS", ())
            helps = [_block(help_of(words)) for words in ([name], *([name, s] for s in sorts))]
            sections.append(_section(f"align3r {name}", about, *helps))
        return [_block(help_of([])), *sections]


class Models(SphinxDirective):
    """The published weights that can be asked for by name."""

    def run(self) -> list[nodes.Node]:
        """Read the catalogue."""
        from align3r.models.catalogue import CATALOGUE

        rows = [
            (
                nodes.literal("", name),
                one.purpose,
                f"{one.parameters / 1e6:.0f} M",
                f"{one.size_bytes / 1e9:.2f} GB",
                one.licence,
                nodes.literal("", f"github.com/{one.repo}" if one.by_hand else one.repo),
            )
            for name, one in CATALOGUE.items()
        ]
        head = ("name", "for", "parameters", "download", "licence of the weights", "where")
        table = _table(head, rows)
        table["classes"].append("models")
        return [table]


class Messages(SphinxDirective):
    """Every error, by exit code: sentence and hint."""

    def run(self) -> list[nodes.Node]:
        """Read the sources of the package."""
        for path in PACKAGE.rglob("*.py"):
            self.env.note_dependency(str(path))
        sections: list[nodes.Node] = []
        for code, found in groupby(all_messages(PACKAGE), key=lambda one: one.code):
            sections.append(_section(f"Exit code {code}", self._list(list(found))))
        return sections

    def _list(self, found: list[Message]) -> nodes.Node:
        rows = [
            (nodes.literal("", one.text), one.hint, nodes.literal("", one.module)) for one in found
        ]
        return _table(("error", "hint", "module"), rows)


class Versions(SphinxDirective):
    """What is installed with the package and with each of its extras."""

    def run(self) -> list[nodes.Node]:
        """Read pyproject.toml."""
        path = REPOSITORY / "pyproject.toml"
        self.env.note_dependency(str(path))
        project = _read_toml(path)["project"]
        extras = project["optional-dependencies"]
        every = {".": project["dependencies"]} | {f"'.[{k}]'": v for k, v in extras.items()}
        rows = [
            (nodes.literal("", f"pip install -e {place}"), ", ".join(needed))
            for place, needed in every.items()
        ]
        return [_table(("command", "installs"), rows)]


class Exports(SphinxDirective):
    """Every format that a result can be written in."""

    def run(self) -> list[nodes.Node]:
        """Read the table of exports."""
        from align3r.io.exports import EXPORTS

        rows = [
            (nodes.literal("", name), nodes.literal("", one.name), one.what)
            for name, one in EXPORTS.items()
        ]
        return [_table(("--to", "writes", "what it is, and its axes"), rows)]


class Protocols(SphinxDirective):
    """Every protocol of `align3r evaluate`."""

    def run(self) -> list[nodes.Node]:
        """Read the table of protocols."""
        from align3r.evaluate.protocol_table import ROWS
        from align3r.evaluate.published import published

        rows = [
            (
                nodes.literal("", f"{one.task} --dataset {one.dataset}"),
                nodes.literal("", one.paper),
                one.pick.in_words() if one.of_videos else f"all {one.things}",
                ", ".join(one.depth) or "-",
                str(len(published(one.name)) or "-"),
            )
            for one in sorted(ROWS, key=lambda one: (one.task, one.dataset))
        ]
        head = ("align3r evaluate", "--protocol", "frames", "alignment of depth", "rows of papers")
        return [_table(head, rows)]


class Datasets(SphinxDirective):
    """Every data set that can be read."""

    def run(self) -> list[nodes.Node]:
        """Read the table of data sets."""
        from align3r.datasets.table import DATASETS

        rows = [
            (nodes.literal("", name), one.title, nodes.literal("", one.layout), one.terms)
            for name, one in DATASETS.items()
        ]
        return [_table(("name", "data set", "what its folder holds", "terms"), rows)]


class Lessons(SphinxDirective):
    """The numbered examples, a section each, with their code; notebooks by name."""

    def run(self) -> list[nodes.Node]:
        """Read the files."""
        examples = REPOSITORY / "examples"
        found: list[nodes.Node] = [self._lesson(path) for path in sorted(examples.glob("0*.py"))]
        notebooks = sorted(path.name for path in examples.glob("*.ipynb"))
        if notebooks:
            names = nodes.literal("", ", ".join(f"examples/{name}" for name in notebooks))
            about = nodes.paragraph("", "", names, nodes.Text(": cell by cell, with pictures."))
            found.append(_section("As a notebook", about))
        return found

    def _lesson(self, path: Path) -> nodes.section:
        self.env.note_dependency(str(path))
        source = path.read_text(encoding="utf-8")
        tree = ast.parse(source)
        title, *about = (ast.get_docstring(tree) or path.stem).split("\n\n")
        code = "".join(source.splitlines(keepends=True)[tree.body[0].end_lineno :]).strip("\n")
        told = [self._told(words) for words in about]
        place = nodes.paragraph("", "", nodes.literal("", f"examples/{path.name}"))
        block = nodes.literal_block(code, code, language="python")
        return _section(" ".join(title.split()).rstrip("."), *told, place, block)

    def _told(self, words: str) -> nodes.Node:
        if words.startswith(("align3r ", "python ")):
            return nodes.literal_block(words, words, language="bash")
        return nodes.paragraph("", " ".join(words.split()))


def _read_toml(path: Path) -> dict[str, dict[str, dict[str, list[str]]]]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # sphinx needs it there, too
    with path.open("rb") as file:
        return tomllib.load(file)


def setup(app: Sphinx) -> dict[str, bool]:
    """Make the directives known."""
    directives = (Commands, Models, Messages, Versions, Exports, Protocols, Datasets, Lessons)
    for kind in directives:
        app.add_directive(kind.__name__.lower(), kind)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
