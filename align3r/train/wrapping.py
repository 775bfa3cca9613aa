"""Methods of modules of a network, computed in another way for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

Method = Callable[..., Any]


@contextmanager
def wrapped(
    methods: Iterable[tuple[nn.Module, str]], wrap: Callable[[Method], Method]
) -> Iterator[None]:
    """While the block lasts, methods of these modules are what `wrap` makes of them.

    Modules stay the objects that they are, so parameters keep their names; whoever calls a method,
    `forward` or another, calls the wrapped one.

    Args:
        methods: Modules, and the name of a method; each pair once.
        wrap: Method to method.
    """
    before: list[tuple[nn.Module, str, Method | None]] = []
    try:
        for module, name in methods:
            # An attribute of the object hides the method of its class.
            before.append((module, name, vars(module).get(name)))
            vars(module)[name] = wrap(getattr(module, name))
        yield
    finally:
        for module, name, hidden in before:
            if hidden is None:
                del vars(module)[name]
            else:
                vars(module)[name] = hidden
