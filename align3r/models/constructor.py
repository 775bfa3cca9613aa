"""The constructor call that a .pth checkpoint keeps as text: read as syntax, never evaluated."""

from __future__ import annotations

import ast
import math
from typing import Any

_LONGEST = 10_000


def parse_constructor(text: str) -> dict[str, Any]:
    """Keyword arguments of a call such as `Net(depth=12, mode=('exp', -inf, inf))`.

    Args:
        text: One call with keyword arguments: literals, tuples, lists and the name `inf`. Such a
            call may be its only argument instead, as in `Net(NetConfig(depth=12))`.

    Raises:
        ValueError: The text is anything else.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"a constructor call of {len(text)} characters")
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if isinstance(call, ast.Call) and len(call.args) == 1 and not call.keywords:
            call = call.args[0]
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError("not a call with keyword arguments alone")
        return {_keyword(k.arg): _value(k.value) for k in call.keywords}
    # What the parser itself answers to text that is no Python, or nested without end.
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a constructor call ({type(error).__name__})") from error


def _keyword(name: str | None) -> str:
    if name is None:
        raise ValueError("a constructor call with **")
    return name


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=value):
            return value
        case ast.Name(id="inf"):
            return math.inf
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _value(operand)
            if isinstance(value, int | float):
                return -value
        case ast.Tuple(elts=parts):
            return tuple(_value(part) for part in parts)
        case ast.List(elts=parts):
            return [_value(part) for part in parts]
    raise ValueError(f"{ast.unparse(node)} is not a plain value")
