"""A device that computes on the CPU and refuses to be mixed with it: what fails on a GPU, fails so.

Its type is `lazy`, the one that PyTorch lets anybody create tensors of without a library behind it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("lazy", 0)

aten = torch.ops.aten
COPIES = {aten.copy_.default, aten._to_copy.default}
INDEXED = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
"""CUDA takes indices that are on the CPU, but not the other way round."""


@contextmanager
def make_believe() -> Iterator[torch.device]:
    """The device, for what this thread does while the block runs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _Functions(), _Operators():
            yield DEVICE
    finally:
        torch.set_num_threads(threads)


class There(torch.Tensor):
    """A tensor on the device; `here` is what it holds."""

    here: torch.Tensor

    @staticmethod
    def __new__(cls, here: torch.Tensor) -> There:
        made: There = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device=DEVICE,
        )
        made.here = here
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"There({self.here})"

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.Tensor.tolist:
            return args[0].here.tolist()
        if func is torch.Tensor.new_tensor:
            return torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)).to(DEVICE)
        if func is torch.matmul and "out" in kwargs:
            # Its parts, seen one by one, would copy a result onto itself.
            torch.matmul(args[0].here, args[1].here, out=kwargs["out"].here)
            return kwargs["out"]
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _run(func, args, kwargs or {})


def _is_there(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    ours = [x for x in given if isinstance(x, There)]
    if ours and func not in COPIES:
        indexed = func in INDEXED
        strangers = [x for x in given if not isinstance(x, There) and x.dim() > 0]
        if strangers and not (indexed and isinstance(args[0], There)):
            shapes = [tuple(x.shape) for x in strangers]
            raise RuntimeError(f"{func}: tensors on the CPU, {shapes}, meet some on {DEVICE}")
    to_there = bool(ours)
    if kwargs.get("device") is not None:
        to_there = _is_there(kwargs["device"])
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if func is aten.copy_.default:
        to_there = isinstance(args[0], There)
    unwrapped = tree_map(lambda x: x.here if isinstance(x, There) else x, (args, kwargs))
    out = func(*unwrapped[0], **unwrapped[1])
    if not to_there:
        return out
    # What is changed in place is given back as the very tensor that it was.
    known = {id(x.here): x for x in ours}
    return tree_map(
        lambda x: (
            (known[id(x)] if id(x) in known else There(x)) if isinstance(x, torch.Tensor) else x
        ),
        out,
    )


class _Operators(TorchDispatchMode):
    """Operators that make a tensor on the device from none."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if _is_there(kwargs.get("device")) or any(
            isinstance(x, There) for x in tree_leaves((args, kwargs))
        ):
            return _run(func, args, kwargs)
        return func(*args, **kwargs)


class _Functions(TorchFunctionMode):
    """Functions that go past the operators."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in (torch.tensor, torch.as_tensor) and _is_there(kwargs.get("device")):
            del kwargs["device"]
            return func(*args, **kwargs).to(DEVICE)
        return func(*args, **kwargs)
