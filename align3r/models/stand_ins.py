"""What stands in for the classes of OmegaConf, where a training left its config in a checkpoint.

A stand-in has the name of a class and nothing else of it, so that a pickle can be read for the
tensors beside the config: OmegaConf is neither imported nor needed.
"""

from __future__ import annotations

from typing import Any

_CLASSES = {
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.base": ("ContainerMetadata", "Metadata"),
    "omegaconf.nodes": (
        "AnyNode",
        "StringNode",
        "IntegerNode",
        "FloatNode",
        "BooleanNode",
        "BytesNode",
        "PathNode",
    ),
    # What it notes of the types of its values, under the names of Python 2 as well.
    "typing": ("Any",),
    "collections": ("defaultdict",),
    "builtins": ("bool", "dict", "float", "int", "list", "str", "tuple"),
    "__builtin__": ("bool", "dict", "float", "int", "list", "long", "str", "tuple", "unicode"),
}


class _StandIn:
    """Takes anything and does nothing with it; a config's plain values become its attributes."""

    value: Any = None
    """Of a leaf of the config."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, dict):
            return
        self.value = state.get("_val")
        content = state.get("_content")
        if isinstance(content, dict):
            leaves = {name: leaf for name, leaf in content.items() if isinstance(leaf, _StandIn)}
            vars(self).update({str(name): leaf.value for name, leaf in leaves.items()})


STAND_INS: tuple[type, ...] = tuple(
    type(name, (_StandIn,), {"__module__": module})
    for module, names in _CLASSES.items()
    for name in names
)
"""To be allowed in a pickle beside tensors."""
