"""A strict little reader of binary glTF, by the text of the specification; knows no writer."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation, Slerp

DTYPES = {5121: "<u1", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}


class Glb:
    """A file that has passed the checks; `world(node, t)` and `points(node)` are what one sees."""

    def __init__(self, path: Path) -> None:
        data = path.read_bytes()
        magic, version, length = struct.unpack_from("<4sII", data)
        assert (magic, version, length) == (b"glTF", 2, len(data))
        size, kind = struct.unpack_from("<I4s", data, 12)
        assert kind == b"JSON" and size % 4 == 0
        self.json: dict[str, Any] = json.loads(data[20 : 20 + size])
        self.body = b""
        if 20 + size < len(data):
            body_size, kind = struct.unpack_from("<I4s", data, 20 + size)
            assert kind == b"BIN\0" and body_size % 4 == 0
            self.body = data[28 + size :]
            assert len(self.body) == body_size
            assert 0 <= body_size - self.json["buffers"][0]["byteLength"] <= 3
        assert self.json["asset"]["version"] == "2.0"
        self.nodes = self.json["nodes"]
        self.number = {node["name"]: i for i, node in enumerate(self.nodes)}
        assert len(self.number) == len(self.nodes), "names are unique"
        self._parents()
        self.samplers = self._samplers()

    def _parents(self) -> None:
        self.parent: dict[int, int] = {}
        for i, node in enumerate(self.nodes):
            for child in node.get("children", []):
                assert child not in self.parent, "a node has one parent"
                self.parent[child] = i
        roots = self.json["scenes"][self.json["scene"]]["nodes"]
        assert sorted(set(range(len(self.nodes))) - set(self.parent)) == sorted(roots)

    def accessor(self, number: int, *, vertices: bool = False) -> np.ndarray:
        entry = self.json["accessors"][number]
        view = self.json["bufferViews"][entry["bufferView"]]
        dtype, width = np.dtype(DTYPES[entry["componentType"]]), WIDTHS[entry["type"]]
        assert entry["count"] >= 1
        assert view["byteOffset"] % dtype.itemsize == 0
        assert view["byteLength"] >= entry["count"] * width * dtype.itemsize
        assert view["byteOffset"] + view["byteLength"] <= len(self.body)
        if vertices:
            assert view["target"] == 34962
            assert width * dtype.itemsize % 4 == 0, "rows of vertex attributes are aligned"
        flat = np.frombuffer(self.body, dtype, entry["count"] * width, view["byteOffset"])
        array = flat.reshape(-1, width) if width > 1 else flat
        assert np.isfinite(array).all()
        for key, of in (("min", np.min), ("max", np.max)):
            if key in entry:
                assert np.array_equal(np.atleast_1d(of(array, axis=0)), entry[key])
        if entry.get("normalized"):
            return array / np.float64(np.iinfo(dtype).max)
        return array.astype(np.float64)

    def _samplers(self) -> dict[tuple[int, str], tuple[np.ndarray, np.ndarray, str]]:
        found = {}
        for animation in self.json.get("animations", []):
            for channel in animation["channels"]:
                sampler = animation["samplers"][channel["sampler"]]
                times, values = self.accessor(sampler["input"]), self.accessor(sampler["output"])
                assert (np.diff(times) > 0).all() and times[0] >= 0
                assert len(times) == len(values)
                entry = self.json["accessors"][sampler["input"]]
                assert "min" in entry and "max" in entry
                target = channel["target"]["node"], channel["target"]["path"]
                assert target not in found, "a property is animated once"
                assert "matrix" not in self.nodes[target[0]]
                found[target] = times, values, sampler["interpolation"]
        return found

    @property
    def duration(self) -> float:
        return max((float(times[-1]) for times, _, _ in self.samplers.values()), default=0.0)

    def local(self, number: int, t: float | None) -> np.ndarray:
        """(4, 4) at t seconds of the animation; None: at rest."""
        node = self.nodes[number]
        parts = {"translation": [0, 0, 0], "rotation": [0, 0, 0, 1], "scale": [1, 1, 1]}
        for path in parts:
            parts[path] = node.get(path, parts[path])
            if t is not None and (number, path) in self.samplers:
                parts[path] = sample(*self.samplers[number, path], t=t, path=path)
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_quat(parts["rotation"]).as_matrix() * parts["scale"]
        matrix[:3, 3] = parts["translation"]
        return matrix

    def world(self, name: str, t: float | None = None) -> np.ndarray:
        """(4, 4) scene from node."""
        number: int | None = self.number[name]
        matrix = np.eye(4)
        while number is not None:
            matrix = self.local(number, t) @ matrix
            number = self.parent.get(number)
        return matrix

    def points(self, name: str, t: float | None = None) -> np.ndarray:
        """(P, 3) positions in the scene."""
        attributes = self._primitive(name)["attributes"]
        matrix = self.world(name, t)
        local = self.accessor(attributes["POSITION"], vertices=True)
        return local @ matrix[:3, :3].T + matrix[:3, 3]

    def srgb(self, name: str) -> np.ndarray:
        """(P, 3) vertex colours as a screen wants them, 0 to 255."""
        linear = self.accessor(self._primitive(name)["attributes"]["COLOR_0"], vertices=True)
        low, high = 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055
        return 255 * np.where(linear <= 0.0031308, low, high)[:, :3]

    def mode(self, name: str) -> int:
        return int(self._primitive(name)["mode"])

    def _primitive(self, name: str) -> dict[str, Any]:
        (primitive,) = self.json["meshes"][self.nodes[self.number[name]]["mesh"]]["primitives"]
        counts = {self.json["accessors"][a]["count"] for a in primitive["attributes"].values()}
        assert len(counts) == 1
        return dict(primitive)


def sample(times: np.ndarray, values: np.ndarray, how: str, *, t: float, path: str) -> np.ndarray:
    """The value at t, held before the first key and after the last."""
    t = float(np.clip(t, times[0], times[-1]))
    before = int(np.searchsorted(times, t, side="right")) - 1
    if how == "STEP" or before == len(times) - 1:
        return np.asarray(values[before])
    assert how == "LINEAR"
    if path == "rotation":
        pair = Rotation.from_quat(values[before : before + 2])
        return np.asarray(Slerp(times[before : before + 2], pair)(t).as_quat())
    share = (t - times[before]) / (times[before + 1] - times[before])
    return np.asarray((1 - share) * values[before] + share * values[before + 1])
