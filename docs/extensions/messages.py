"""Every error that the code can raise, read from its syntax trees: nothing is imported or run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

GAP = "…"
"""Stands for what is filled in when the error is raised."""


@dataclass(frozen=True, order=True)
class Message:
    """One place in the code that makes an error of the family."""

    code: int
    """Exit code."""
    kind: str
    """Class."""
    text: str
    """The sentence; `GAP` for what is filled in."""
    hint: str
    """The way out, in the same way; empty where there is none or it is composed elsewhere."""
    module: str
    """Where it is raised."""


def exit_codes(package: Path) -> dict[str, int]:
    """Exit code of every class of the family, by name, from errors.py."""
    codes: dict[str, int] = {}
    for node in ast.parse((package / "errors.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            inherited = [codes[base.id] for base in node.bases if getattr(base, "id", "") in codes]
            own = [
                line.value.value
                for line in node.body
                if isinstance(line, ast.Assign)
                and isinstance(line.value, ast.Constant)
                and any(getattr(target, "id", "") == "exit_code" for target in line.targets)
            ]
            codes[node.name] = int((own or inherited)[0])
    return codes


def all_messages(package: Path) -> list[Message]:
    """All messages of a package, sorted; without those whose sentence is composed elsewhere."""
    codes = exit_codes(package)
    return sorted({one for path in sorted(package.rglob("*.py")) for one in _in_file(path, codes)})


def pattern(text: str) -> re.Pattern[str]:
    """What a sentence with gaps matches as a whole."""
    return re.compile(".+?".join(re.escape(part) for part in text.split(GAP)) + r"\Z", re.DOTALL)


def _in_file(path: Path, codes: dict[str, int]) -> Iterator[Message]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in codes and node.args:
            kind = getattr(node.func, "id", "")
            hint = next((_words(k.value, constants) for k in node.keywords if k.arg == "hint"), "")
            told = "" if not hint.strip(f"{GAP} ") else hint
            for sentence in _either(node.args[0]):
                text = _words(sentence, constants)
                if text.strip(f"{GAP} "):
                    yield Message(codes[kind], kind, text, told, path.stem)


def _either(node: ast.expr) -> list[ast.expr]:
    """Both branches of a choice, or the expression itself."""
    if isinstance(node, ast.IfExp):
        return [*_either(node.body), *_either(node.orelse)]
    return [node]


def _words(node: ast.expr, constants: dict[str, ast.expr]) -> str:
    """A string expression as words, `GAP` where it depends on something."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = [_words(part, constants) for part in node.values]
        return re.sub(f"{GAP}(?:{GAP})+", GAP, "".join(parts))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _words(node.left, constants) + _words(node.right, constants)
    if isinstance(node, ast.Name) and node.id in constants:
        return _words(constants[node.id], {})
    return GAP
