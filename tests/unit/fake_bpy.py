"""As much of Blender's `bpy` as a build script for a filmed scene needs, and as strict.

Unknown attributes are errors. Keys are held (switches) or joined by lines (numbers); matrices are
those of Blender 5: what it gave for the same scene is what is computed here (`test_io_blender.py`
runs against the true one, too, where there is one).
"""

from __future__ import annotations

import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation


class Strict:
    """Has the attributes it was made with, and no other."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__ and not isinstance(getattr(type(self), name, None), property):
            raise AttributeError(f"{type(self).__name__} has no {name}")
        object.__setattr__(self, name, value)


class Animated(Strict):
    """Keeps keys of its attributes."""

    def __init__(self, **values: Any) -> None:
        super().__init__(keys={}, **values)

    def keyframe_insert(self, data_path: str, *, frame: float) -> bool:
        value = getattr(self, data_path)
        self.keys.setdefault(data_path, {})[frame] = np.copy(value)
        return True

    def go_to(self, frame: float) -> None:
        for name, keys in self.keys.items():
            frames = sorted(keys)
            values = np.array([keys[at] for at in frames], dtype=object)
            at = float(np.clip(frame, frames[0], frames[-1]))
            before = int(np.searchsorted(frames, at, side="right")) - 1
            if values.dtype == object and isinstance(keys[frames[0]].item(0), bool):
                setattr(self, name, bool(values[before]))
                continue
            after = min(before + 1, len(frames) - 1)
            gap = frames[after] - frames[before]
            share = (at - frames[before]) / gap if gap else 0.0
            mixed = (1 - share) * values[before] + share * values[after]
            setattr(self, name, float(mixed) if np.ndim(mixed) == 0 else mixed.astype(float))


class Matrix:
    """mathutils.Matrix, of rows."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self.array = np.array(rows, float)
        assert self.array.shape == (4, 4)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.array, dtype)


class Elements(list[Any]):
    """Vertices or values of an attribute: a flat array under a name."""

    def __init__(self, names: dict[str, int], count: int = 0) -> None:
        super().__init__([None] * count)
        self.names = names
        self.flat = {name: np.zeros(width * count, np.float32) for name, width in names.items()}

    def add(self, count: int) -> None:
        self.__init__(self.names, len(self) + count)  # type: ignore[misc]

    def foreach_set(self, name: str, values: np.ndarray) -> None:
        assert len(values) == self.names[name] * len(self) and np.ndim(values) == 1
        self.flat[name] = np.array(values, np.float32)

    def foreach_get(self, name: str, values: np.ndarray) -> None:
        values[:] = self.flat[name]


class Table(dict[str, Any]):
    """bpy.data.things: `new` and `load` make one with a name of its own."""

    def __init__(self, make: Any) -> None:
        super().__init__()
        self._make = make

    def new(self, name: str, *more: Any) -> Any:
        unique, number = name, 0
        while unique in self:
            number += 1
            unique = f"{name}.{number:03d}"
        self[unique] = self._make(unique, *more)
        return self[unique]

    def load(self, path: str) -> Any:
        if not Path(path).is_file():
            raise RuntimeError(f"Error: Cannot read '{path}'")
        return self.new(path)

    def __iter__(self) -> Any:
        return iter(self.values())


class Objects(list[Any]):
    def link(self, thing: Any) -> None:
        if thing in self:
            raise RuntimeError(f"Object '{thing.name}' already in collection")
        self.append(thing)


class Thing(Animated):
    """An object: of a camera or a mesh."""

    def __init__(self, name: str, data: Any) -> None:
        super().__init__(
            name=name,
            data=data,
            type=data.kind,
            location=np.zeros(3),
            rotation_mode="XYZ",
            rotation_quaternion=np.array([1.0, 0, 0, 0]),
            hide_viewport=False,
            hide_render=False,
            modifiers=Modifiers(),
            placed=None,
        )

    @property
    def matrix_world(self) -> np.ndarray:
        if self.placed is not None:
            return np.asarray(self.placed)
        assert self.rotation_mode == "QUATERNION"
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_quat(np.roll(self.rotation_quaternion, -1)).as_matrix()
        matrix[:3, 3] = self.location
        return matrix

    @matrix_world.setter
    def matrix_world(self, value: Any) -> None:
        # Blender takes plain rows for columns.
        self.placed = np.array(value) if isinstance(value, Matrix) else np.array(value).T

    def evaluated_get(self, graph: Any) -> Thing:
        assert graph.updated
        return self

    def calc_matrix_camera(
        self, graph: Any, *, x: int, y: int, scale_x: float, scale_y: float
    ) -> np.ndarray:
        """Blender's BKE_camera_params_compute_viewplane, with the sensor fitted to the width."""
        lens = self.data
        assert lens.sensor_fit == "HORIZONTAL"
        pixel = lens.sensor_width / x * lens.clip_start / lens.lens
        half_x, half_y = 0.5 * x, 0.5 * y * scale_y / scale_x
        left, right = (pixel * (side * half_x + lens.shift_x * x) for side in (-1, 1))
        bottom, top = (pixel * (side * half_y + lens.shift_y * x) for side in (-1, 1))
        near, far = lens.clip_start, lens.clip_end
        matrix = np.zeros((4, 4))
        matrix[0, 0], matrix[0, 2] = 2 * near / (right - left), (right + left) / (right - left)
        matrix[1, 1], matrix[1, 2] = 2 * near / (top - bottom), (top + bottom) / (top - bottom)
        matrix[2, 2:] = -(far + near) / (far - near), -2 * far * near / (far - near)
        matrix[3, 2] = -1
        return matrix


class Modifiers(list[Any]):
    def new(self, name: str, kind: str) -> Any:
        assert kind == "NODES"
        self.append(Strict(name=name, node_group=None))
        return self[-1]


class Attributes(dict[str, Any]):
    def __init__(self, mesh: Any) -> None:
        super().__init__()
        self._mesh = mesh

    def new(self, *, name: str, type: str, domain: str) -> Any:
        assert (type, domain) == ("BYTE_COLOR", "POINT")
        self[name] = Strict(data=Elements({"color": 4, "color_srgb": 4}, len(self._mesh.vertices)))
        return self[name]


def mesh(name: str) -> Strict:
    made = Strict(name=name, kind="MESH", vertices=Elements({"co": 3}), attributes=None)
    made.attributes = Attributes(made)
    made.__dict__["update"] = lambda: None
    return made


class Backgrounds(list[Any]):
    def new(self) -> Any:
        user = Strict(frame_start=1, frame_offset=0, frame_duration=1, use_auto_refresh=False)
        self.append(Strict(image=None, frame_method="STRETCH", alpha=0.5, image_user=user))
        return self[-1]


def camera(name: str) -> Animated:
    return Animated(
        name=name,
        kind="CAMERA",
        sensor_fit="AUTO",
        sensor_width=36.0,
        lens=50.0,
        shift_x=0.0,
        shift_y=0.0,
        clip_start=0.1,
        clip_end=1000.0,
        background_images=Backgrounds(),
        show_background_images=False,
    )


class Sockets(dict[Any, Any]):
    def __missing__(self, name: Any) -> Any:
        self[name] = Strict(default_value=None)
        return self[name]


class Nodes(list[Any]):
    def new(self, kind: str) -> Any:
        self.append(Strict(kind=kind, inputs=Sockets(), outputs=Sockets(), attribute_name=""))
        return self[-1]


class Links(list[Any]):
    def new(self, start: Any, end: Any) -> None:
        self.append((start, end))


def node_group(name: str, kind: str) -> Strict:
    interface = types.SimpleNamespace(new_socket=lambda name, *, in_out, socket_type: None)
    return Strict(name=name, kind=kind, interface=interface, nodes=Nodes(), links=Links())


def material(name: str) -> Strict:
    return Strict(name=name, node_tree=Strict(nodes=Nodes(), links=Links()))


class Scene(Strict):
    def __init__(self, name: str) -> None:
        render = Strict(
            resolution_x=1920,
            resolution_y=1080,
            resolution_percentage=50,
            pixel_aspect_x=1.0,
            pixel_aspect_y=1.0,
            fps=24,
            fps_base=1.0,
        )
        graph = types.SimpleNamespace(updated=False)
        graph.update = lambda: setattr(graph, "updated", True)
        super().__init__(
            name=name,
            render=render,
            frame_start=1,
            frame_end=250,
            frame_current=1,
            camera=None,
            collection=Strict(objects=Objects()),
            view_layers=[Strict(depsgraph=graph)],
        )

    def frame_set(self, frame: int) -> None:
        self.frame_current = frame
        self.view_layers[0].depsgraph.updated = False
        for thing in self.collection.objects:
            thing.go_to(frame)
            if isinstance(thing.data, Animated):
                thing.data.go_to(frame)


def image(path: str) -> Strict:
    return Strict(name=Path(path).name, filepath=path, source="FILE")


def install(version: tuple[int, int, int] = (5, 0, 1)) -> types.ModuleType:
    """Become `bpy` and `mathutils`."""
    bpy, mathutils = types.ModuleType("bpy"), types.ModuleType("mathutils")
    bpy.app = Strict(version=version)  # type: ignore[attr-defined]
    bpy.context = Strict(window=Strict(scene=None))  # type: ignore[attr-defined]
    bpy.data = Strict(  # type: ignore[attr-defined]
        scenes=Table(Scene),
        cameras=Table(camera),
        meshes=Table(mesh),
        objects=Table(Thing),
        images=Table(image),
        materials=Table(material),
        node_groups=Table(node_group),
    )
    bpy.data.scenes.new("Scene")  # type: ignore[attr-defined]
    mathutils.Matrix = Matrix  # type: ignore[attr-defined]
    sys.modules["bpy"], sys.modules["mathutils"] = bpy, mathutils
    return bpy
