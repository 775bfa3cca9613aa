"""Constructor calls are read as syntax: plain values, and nothing that would have to be run."""

from __future__ import annotations

import math

import pytest

from align3r.models.constructor import parse_constructor


def test_constructors_are_parsed() -> None:
    text = "a.Net(d=12, f=-1.5, s='x', t=('exp', -inf, inf), l=[1, (2,)], b=True, n=None)"
    assert parse_constructor(text) == {
        "d": 12,
        "f": -1.5,
        "s": "x",
        "t": ("exp", -math.inf, math.inf),
        "l": [1, (2,)],
        "b": True,
        "n": None,
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "Net",
        "Net(3)",
        "Net(*x)",
        "Net(**x)",
        "Net(a=b)",
        "Net(a=f())",
        "Net(a=1 + 1)",
        "Net(a=-'x')",
        "Net(a=[x for x in y])",
        "Net(a=(lambda: 1))",
        "Net(a=f'{x}')",
        "Net(a=nan)",
        "Net(a=1",
        "Net(a=1); x",
        "a\x00b",
        "Net(a=" + "(" * 900 + ")" * 900 + ")",
        "Net(a=" + "-" * 5000 + "1)",
        "Net(a='" + "x" * 20_000 + "')",
    ],
)
def test_what_is_no_plain_call_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_constructor(text)
