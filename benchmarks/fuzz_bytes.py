"""Broken bytes, text and JSON from whole ones, whatever file they are of."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator
Mutation = Callable[[bytes, Rng], bytes]

NUMBERS = (0, 1, 2, 127, 128, 255, 256, 32767, 65535, 100_000, 2**31 - 1, 2**31, 2**32 - 1, 2**40)
_WORDS = (
    *("nan", "inf", "-inf", "1e400", "-1", "0", "9" * 400, "1e308", "-0.0", "0x10", "null", ""),
    *("../../../etc/passwd", "/dev/zero", "\x00", "\ufeff", "é" * 50, "A" * 5000, "[", '"', "{"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 1.5, -0.0, 1e308, "", "x", "A" * 3000),
    *([], {}, [[]], ["x"], [None, 1], {"x": None}, "../../x", "\x00", float("nan"), float("inf")),
)


def _place(data: bytes, rng: Rng) -> int:
    """A position; half of the time near the beginning, where the headers are."""
    size = max(len(data), 1)
    return int(rng.integers(min(size, 256) if rng.random() < 0.5 else size))


def flip(data: bytes, rng: Rng) -> bytes:
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 12))):
        if out:
            out[_place(data, rng)] ^= 1 << int(rng.integers(8))
    return bytes(out)


def _integer(data: bytes, rng: Rng) -> bytes:
    """A length, a size or an offset that is not true."""
    value, order = NUMBERS[rng.integers(len(NUMBERS))], "<>"[rng.integers(2)]
    letter = "BHIQ"[rng.integers(4)]
    packed = struct.pack(order + letter, value % (1 << (8 * struct.calcsize(letter))))
    start = _place(data, rng)
    return data[:start] + packed + data[start + len(packed) :]


def _fill(data: bytes, rng: Rng) -> bytes:
    start, length = _place(data, rng), int(rng.integers(1, 200))
    byte = bytes([(0, 255, 0x80, 0x7F)[rng.integers(4)]])
    return data[:start] + byte * min(length, len(data) - start) + data[start + length :]


def _truncate(data: bytes, rng: Rng) -> bytes:
    return data[: _place(data, rng)]


def _drop(data: bytes, rng: Rng) -> bytes:
    start = _place(data, rng)
    return data[:start] + data[start + int(rng.integers(1, 100)) :]


def _repeat(data: bytes, rng: Rng) -> bytes:
    start, length = _place(data, rng), int(rng.integers(1, 500))
    return data[: start + length] * int(rng.integers(1, 3)) + data[start:]


def _insert(data: bytes, rng: Rng) -> bytes:
    start = _place(data, rng)
    return data[:start] + rng.bytes(int(rng.integers(1, 100))) + data[start:]


def splice(data: bytes, other: bytes, rng: Rng) -> bytes:
    return data[: _place(data, rng)] + other[_place(other, rng) :]


ANY: tuple[Mutation, ...] = (flip, flip, _integer, _integer, _fill, _truncate, _drop, _repeat)
ANY += (_insert,)


def text_word(data: bytes, rng: Rng) -> bytes:
    """Replace a word or a number by another."""
    text = data.decode("utf-8", "replace")
    found = list(re.finditer(r"[^\s,\"\[\]{}:]+", text)) or list(re.finditer("", text))
    start, end = found[rng.integers(len(found))].span()
    return (text[:start] + _WORDS[rng.integers(len(_WORDS))] + text[end:]).encode("utf-8")


def text_lines(data: bytes, rng: Rng) -> bytes:
    lines = data.split(b"\n")
    k = int(rng.integers(len(lines)))
    action = rng.integers(4)
    if action == 0:
        del lines[k]
    elif action == 1:
        lines.insert(k, lines[int(rng.integers(len(lines)))])
    elif action == 2:
        lines[k] = b" ".join(lines[k].split()[: int(rng.integers(9))])
    else:
        lines = lines[:k] * int(rng.integers(2, 60))
    return b"\n".join(lines)


def json_value(data: bytes, rng: Rng) -> bytes:
    """Replace, rename or remove something in the tree, anywhere."""
    tree = {"tree": json.loads(data)}
    places: list[tuple[Any, Any]] = []

    def visit(node: Any) -> None:
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                visit(node[key])

    visit(tree)
    for _ in range(int(rng.integers(1, 4))):
        # Half of the time near the root, where what matters is.
        few = places[:40] if rng.random() < 0.5 else places
        node, key = few[rng.integers(len(few))]
        if isinstance(node, dict) and node is not tree and rng.random() < 0.2:
            node.pop(key, None)
        else:
            node[key] = _VALUES[rng.integers(len(_VALUES))]
    return json.dumps(tree.get("tree")).encode()


def json_deep(data: bytes, rng: Rng) -> bytes:
    depth = int(rng.choice((50, 5000, 200_000)))
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    if rng.random() < 0.5:
        deep = b"[" * depth + b"]" * depth
    return deep if rng.random() < 0.5 else re.sub(rb":\s*\S+?,", b": " + deep + b",", data, count=1)
