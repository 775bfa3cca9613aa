"""The site is built without a warning, needs no network, and says what the code says."""

from __future__ import annotations

import html
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

import pytest

import align3r
import align3r.config
import align3r.export_options
from align3r.cli.main import COMMANDS
from align3r.io.exports import EXPORTS
from align3r.models.catalogue import CATALOGUE
from align3r.reconstruction import Reconstruction

REPOSITORY = Path(__file__).resolve().parents[1]
DOCS = REPOSITORY / "docs"
FETCHED = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src"}
"""What a browser loads by itself, and where it says from where."""


class Page(HTMLParser):
    """Anchors, links and whatever is loaded of a built page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.text = path.read_text(encoding="utf-8")
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors.add(values.get("id") or "")
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        if tag in FETCHED and values.get(FETCHED[tag]):
            self.loaded.append(values[FETCHED[tag]] or "")
        if tag == "img":
            self.pictures.append(values)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built with warnings as errors, as `.ci/run` does."""
    for needed in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(needed, reason=f"{needed} is not installed: pip install -e '.[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(DOCS), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    """Every page that a person reads."""
    found = {path: Page(path) for path in site.rglob("*.html") if path.stem != "search"}
    assert len(found) >= len(list(DOCS.glob("*.md")))
    return found


def test_a_built_site_needs_no_network(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        distant = [where for where in page.loaded if re.match(r"(https?:)?//", where)]
        assert distant == [], path.name


def test_what_a_page_loads_and_links_to_is_there(pages: dict[Path, Page]) -> None:
    missing = []
    for path, page in pages.items():
        for where in page.loaded + page.links:
            place, anchor = urldefrag(where)
            if re.match(r"[a-z]+:", where):
                continue
            target = (path.parent / unquote(place.partition("?")[0])) if place else path
            lost = anchor and target in pages and unquote(anchor) not in pages[target].anchors
            if not target.exists() or lost:
                missing.append(f"{path.name}: {where}")
    assert missing == []


def test_pictures_are_described_in_words(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        nameless = [one["src"] for one in page.pictures if not (one.get("alt") or "").strip()]
        assert nameless == [], path.name


def test_equations_are_mathml(site: Path) -> None:
    for source in ("how_it_works", "coordinates", "ablations"):
        displayed = (DOCS / f"{source}.md").read_text(encoding="utf-8").count("$$") // 2
        built = (site / f"{source}.html").read_text(encoding="utf-8")
        assert displayed > 0 and built.count('<math xmlns="http') >= displayed
        assert "\\frac" not in built and "$$" not in built


def test_every_public_name_is_on_the_page_of_the_api(site: Path) -> None:
    anchors = Page(site / "api.html").anchors
    names = set(align3r.__all__) - {"__version__"}
    assert {f"align3r.{name}" for name in names} <= anchors
    modules = (align3r.config, align3r.export_options)
    names = {f"{home.__name__}.{name}" for home in modules for name in vars(home)}
    homes = {name for name in names if name.endswith("Options")} - {"align3r.config.Options"}
    assert len(homes) > 5 and homes <= anchors


def test_every_command_and_every_model_is_shown(site: Path) -> None:
    commands = Page(site / "command_line.html")
    assert {f"align3r-{name}" for name in COMMANDS} <= commands.anchors
    models = (site / "models.html").read_text(encoding="utf-8")
    assert all(f">{name}<" in models for name in CATALOGUE)
    assert all(one.licence in models for one in CATALOGUE.values())


def test_every_export_is_shown_and_told_of(site: Path) -> None:
    table = (site / "api.html").read_text(encoding="utf-8")
    told = (site / "exports.html").read_text(encoding="utf-8")
    for name, one in EXPORTS.items():
        assert f">{name}<" in table and one.what.split("`")[0] in html.unescape(table), name
        assert name in told, name


def test_every_lesson_is_shown(site: Path) -> None:
    lessons = (site / "lessons.html").read_text(encoding="utf-8")
    files = sorted(path.name for path in (REPOSITORY / "examples").glob("0*.py"))
    assert len(files) >= 3 and all(f"examples/{name}" in lessons for name in files)


def test_the_drawing_is_the_one_that_its_script_draws() -> None:
    script = runpy.run_path(str(DOCS / "drawings" / "coordinates.py"))
    drawn = (DOCS / "pictures" / "coordinates.svg").read_text(encoding="utf-8")
    assert script["drawing"]() == drawn


def test_the_code_on_coordinates_is_true(
    make_scene: Callable[..., Reconstruction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_scene(6, size=(384, 288), working=(48, 36)).save(
        tmp_path / "out", options=align3r.config.OutputOptions(html=False, pictures=False)
    )
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = runpy.run_path(str(DOCS / "snippets" / "project.py"))
    assert found["z"] == pytest.approx(found["scene"].depth(5)[150, 200])
