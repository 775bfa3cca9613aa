# SPDX-License-Identifier: Apache-2.0
"""Build a scene that align3r has exported, in Blender 4.2 or newer.

    blender --python build_scene.py                                      look at it
    blender --background --python build_scene.py -- scene.blend          write a .blend file

It adds a Blender scene named after the export, and touches nothing else: a camera that moves, looks
and has a lens like the one that filmed, the frames of the video behind it, the static points, and
the points that move, each set of which is there for its own frame only. Frame 1 is the first.

Everything comes from the folder of this file: scene.json (numbers, in Blender's axes, z up), clouds
as PLY (in OpenCV axes, turned by the `from_world` of scene.json), and images.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import bpy
import mathutils
import numpy as np

HERE = Path(__file__).resolve().parent
OLDEST = (4, 2, 0)
SENSOR_MM = 36.0
COLOUR = "Col"
VERTEX = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])


def main() -> None:
    """Build, and save where a file is named after `--`."""
    if bpy.app.version < OLDEST:
        found, needed = (".".join(map(str, v[:2])) for v in (bpy.app.version, OLDEST))
        sys.exit(f"error: this is Blender {found}; build_scene.py needs {needed} or newer")
    about = json.loads((HERE / "scene.json").read_text(encoding="utf-8"))
    scene = bpy.data.scenes.new(about["name"])
    if bpy.context.window is not None:
        bpy.context.window.scene = scene
    set_video(scene, about["video"])
    camera = add_camera(scene, about["cameras"], about["video"])
    add_background(camera.data, about["video"])
    look = point_look(about["point_radius"])
    add_points(scene, HERE / "static.ply", about["from_world"], look)
    for number, name in sorted(about["moving"].items()):
        points = add_points(scene, HERE / name, about["from_world"], look)
        show_only_in(points, int(number))
    wanted = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
    if wanted:
        bpy.ops.wm.save_as_mainfile(filepath=str(Path(wanted[0]).resolve()))
        print(f"wrote {wanted[0]}")


def set_video(scene: Any, video: dict[str, Any]) -> None:
    """Size, frame rate and length; Blender's rate is a whole number over a divisor."""
    render = scene.render
    render.resolution_x, render.resolution_y = video["size"]
    render.resolution_percentage = 100
    render.pixel_aspect_x, render.pixel_aspect_y = video["pixel_aspect"]
    render.fps = max(round(video["fps"]), 1)
    render.fps_base = render.fps / video["fps"]
    scene.frame_start, scene.frame_end = 1, video["frames"]
    scene.frame_set(1)


def add_camera(scene: Any, cameras: list[dict[str, Any]], video: dict[str, Any]) -> Any:
    """One camera with a key on every frame."""
    data = bpy.data.cameras.new("camera")
    data.sensor_fit, data.sensor_width = "HORIZONTAL", SENSOR_MM
    data.clip_start, data.clip_end = video["clip"]
    camera = bpy.data.objects.new("camera", data)
    camera.rotation_mode = "QUATERNION"
    scene.collection.objects.link(camera)
    scene.camera = camera
    lens_changes = any(one[key] != cameras[0][key] for one in cameras for key in ("lens", "shift"))
    for frame, one in enumerate(cameras, start=1):
        camera.location = one["location"]
        camera.rotation_quaternion = one["quaternion_wxyz"]
        camera.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("rotation_quaternion", frame=frame)
        if frame == 1 or lens_changes:
            data.lens = one["lens"] * SENSOR_MM
            data.shift_x, data.shift_y = one["shift"]
        if lens_changes:
            for key in ("lens", "shift_x", "shift_y"):
                data.keyframe_insert(key, frame=frame)
    return camera


def add_background(data: Any, video: dict[str, Any]) -> None:
    """The frames of the video behind the scene, in the view of the camera."""
    image = bpy.data.images.load(str(HERE / video["first_image"]))
    image.source = "SEQUENCE"
    background = data.background_images.new()
    background.image = image
    background.frame_method = "STRETCH"
    background.alpha = 1.0
    user = background.image_user
    # Files are numbered from 1, so that frame 1 shows the first.
    user.frame_start, user.frame_offset, user.frame_duration = 1, 0, video["frames"]
    user.use_auto_refresh = True
    data.show_background_images = True


def add_points(scene: Any, path: Path, from_world: list[list[float]], look: Any) -> Any:
    """A cloud, named after its file, as the vertices of a mesh, drawn as points by a modifier."""
    points, colours = read_ply(path)
    mesh = bpy.data.meshes.new(path.stem)
    mesh.vertices.add(len(points))
    mesh.vertices.foreach_set("co", points.ravel())
    layer = mesh.attributes.new(name=COLOUR, type="BYTE_COLOR", domain="POINT")
    rgba = np.ones((len(points), 4), np.float32)
    rgba[:, :3] = colours / 255
    layer.data.foreach_set("color_srgb", rgba.ravel())
    mesh.update()
    cloud = bpy.data.objects.new(path.stem, mesh)
    # A matrix, because plain rows would be taken as columns.
    cloud.matrix_world = mathutils.Matrix(from_world)
    scene.collection.objects.link(cloud)
    cloud.modifiers.new("points", "NODES").node_group = look
    return cloud


def show_only_in(cloud: Any, frame: int) -> None:
    """Keys that hide an object in every frame but one."""
    for hidden, at in ((True, frame - 1), (False, frame), (True, frame + 1)):
        if at >= 1:
            cloud.hide_viewport = cloud.hide_render = hidden
            cloud.keyframe_insert("hide_viewport", frame=at)
            cloud.keyframe_insert("hide_render", frame=at)


def point_look(radius: float) -> Any:
    """Geometry nodes that turn vertices into points of their own colour; one place for the size."""
    material = bpy.data.materials.new("points")
    if material.node_tree is None:  # before Blender 5
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    colour = nodes.new("ShaderNodeAttribute")
    colour.attribute_name = COLOUR
    glow, out = nodes.new("ShaderNodeEmission"), nodes.new("ShaderNodeOutputMaterial")
    links.new(colour.outputs["Color"], glow.inputs["Color"])
    links.new(glow.outputs["Emission"], out.inputs["Surface"])
    group = bpy.data.node_groups.new("points", "GeometryNodeTree")
    for in_out in ("INPUT", "OUTPUT"):
        group.interface.new_socket("Geometry", in_out=in_out, socket_type="NodeSocketGeometry")
    nodes, links = group.nodes, group.links
    start, end = nodes.new("NodeGroupInput"), nodes.new("NodeGroupOutput")
    points, paint = nodes.new("GeometryNodeMeshToPoints"), nodes.new("GeometryNodeSetMaterial")
    points.inputs["Radius"].default_value = radius
    paint.inputs["Material"].default_value = material
    links.new(start.outputs[0], points.inputs["Mesh"])
    links.new(points.outputs["Points"], paint.inputs["Geometry"])
    links.new(paint.outputs["Geometry"], end.inputs[0])
    return group


def read_ply(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Positions (P, 3) float32 and colours (P, 3) uint8 of one of our own files."""
    header, _, body = path.read_bytes().partition(b"end_header\n")
    (count,) = (line.split()[2] for line in header.splitlines() if line.startswith(b"element"))
    vertices = np.frombuffer(body, VERTEX, int(count))
    return vertices["xyz"], vertices["rgb"]


if __name__ == "__main__":
    main()
