"""Imports go down only, rooms on one floor do not see each other, and looking needs no torch."""

from __future__ import annotations

import ast
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import align3r

PACKAGE = Path(align3r.__file__).parent
FLOORS = [
    [
        "errors",
        "types",
        "config",
        "export_options",
        "geometry",
        "device",
        "reconstruction",
        "progress",
        "stopwatch",
        "meanwhile",
        "parallel",
    ],
    ["models", "io"],
    ["mono", "flow", "datasets"],
    ["motion", "view", "pairing"],
    ["pairwise"],
    ["optim", "stage_cache", "shared_stages", "given"],
    ["prediction", "planning"],
    ["solving", "outcome"],
    ["pipeline"],
    ["splitting", "cluster"],
    ["evaluate", "batch"],
    ["train"],
    ["cli"],
    ["__main__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# The words everybody speaks; the other rooms of the ground floor may use them.
WORDS = {"errors", "types", "config", "export_options"}
ALLOWED = {
    ("align3r.reconstruction", "align3r.view.folder"),
    ("align3r.reconstruction", "align3r.io.exports"),
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST) -> Iterator[str]:
    """Everything of align3r that is imported anywhere, in functions and for type checkers too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            yield "align3r.relative"  # absolute imports say where they go
        elif isinstance(node, ast.ImportFrom) and node.module == "align3r":
            names = (alias.name for alias in node.names if alias.name != "__version__")
            yield from (align3r._HOMES.get(name, f"align3r.{name}") for name in names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def wrong_imports(module: str, source: str) -> list[str]:
    room = module.split(".")[1]
    found = []
    for target in imported(ast.parse(source)):
        if target.partition(".")[0] != "align3r" or (module, target) in ALLOWED:
            continue
        other = target.split(".")[1] if "." in target else "pipeline"  # that the front door opens
        here, there = FLOOR[room], FLOOR.get(other, len(FLOORS))
        words = here == there == 0 and other in WORDS
        if other != room and there >= here and not words:
            found.append(target)
    return found


def test_every_room_has_a_floor() -> None:
    rooms = {module_name(path).split(".")[1] for path in MODULES if path.parent != PACKAGE}
    rooms |= {path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    assert rooms <= set(FLOOR)


@pytest.mark.parametrize(
    "path", [path for path in MODULES if path != PACKAGE / "__init__.py"], ids=module_name
)
def test_imports_go_down_only(path: Path) -> None:
    assert wrong_imports(module_name(path), path.read_text(encoding="utf-8")) == []


def test_the_front_door_opens_lazily() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    at_once = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    assert not [name for node in at_once for name in imported(node) if "align3r" in name]


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("align3r.io.video", "from align3r.types import Frames", []),
        ("align3r.io.video", "import numpy, align3r.io.images", []),
        ("align3r.io.video", "from align3r import __version__", []),
        ("align3r.io.video", "from align3r import load", []),
        ("align3r.io.video", "from align3r import reconstruct", ["align3r.pipeline"]),
        ("align3r.io.video", "from align3r import pipeline", ["align3r.pipeline"]),
        ("align3r.io.video", "import align3r", ["align3r"]),
        ("align3r.io.video", "from align3r.flow import dis", ["align3r.flow"]),
        ("align3r.io.video", "def f():\n    import align3r.optim.solve", ["align3r.optim.solve"]),
        ("align3r.io.video", "from .images import read_rgb", ["align3r.relative"]),
        ("align3r.view.folder", "from align3r.motion import masks", ["align3r.motion"]),
        ("align3r.geometry.rigid", "from align3r.errors import InputError", []),
        ("align3r.geometry.rigid", "from align3r.device import x", ["align3r.device"]),
        ("align3r.reconstruction", "from align3r.view.folder import save", []),
        ("align3r.reconstruction", "from align3r.view.html import x", ["align3r.view.html"]),
        ("align3r.types", "from align3r.view.folder import save", ["align3r.view.folder"]),
        ("align3r.cli.main", "import align3r", []),
    ],
)
def test_the_check_itself(module: str, source: str, wrong: list[str]) -> None:
    assert wrong_imports(module, source) == wrong


def modules_in(room: str) -> list[str]:
    folder = PACKAGE / room
    found = pkgutil.walk_packages([str(folder)], prefix=f"align3r.{room}.")
    return [f"align3r.{room}", *(info.name for info in found if "__main__" not in info.name)]


@pytest.mark.parametrize(
    "modules",
    [["align3r.view", "align3r.cli", "align3r.io.result"]]
    + [modules_in(room) for room in ("io", "view", "cli")],
    ids=["front", "io", "view", "cli"],
)
def test_torch_is_not_imported(modules: list[str]) -> None:
    program = (
        "import sys, importlib\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program, *modules], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or "torch was imported"
