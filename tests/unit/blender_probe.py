"""Run a build script, then tell what its scene is at every frame, as Blender computes it.

python blender_probe.py build_scene.py found.npz [fake]
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    script, found = sys.argv[1:3]
    if "fake" in sys.argv:
        sys.path.insert(0, str(Path(__file__).parent))
        import fake_bpy

        fake_bpy.install()
    import bpy

    before = set(bpy.data.scenes)
    sys.argv = [script]
    runpy.run_path(script, run_name="__main__")
    (scene,) = set(bpy.data.scenes) - before
    np.savez(found, **tell(scene))


def tell(scene: Any) -> dict[str, np.ndarray]:
    render = scene.render
    width, height = render.resolution_x, render.resolution_y
    clouds = [thing for thing in scene.collection.objects if thing.type == "MESH"]
    told: dict[str, Any] = {
        "size": (width, height),
        "fps": render.fps / render.fps_base,
        "range": (scene.frame_start, scene.frame_end),
        "names": [cloud.name for cloud in clouds],
    }
    poses, lenses, shown, hidden_in_view = [], [], [], []
    for frame in range(scene.frame_start, scene.frame_end + 1):
        scene.frame_set(frame)
        graph = scene.view_layers[0].depsgraph
        graph.update()
        camera = scene.camera.evaluated_get(graph)
        poses.append(np.array(camera.matrix_world))
        lenses.append(
            np.array(
                camera.calc_matrix_camera(
                    graph,
                    x=width,
                    y=height,
                    scale_x=render.pixel_aspect_x,
                    scale_y=render.pixel_aspect_y,
                )
            )
        )
        now = [cloud.evaluated_get(graph) for cloud in clouds]
        shown.append([not cloud.hide_render for cloud in now])
        hidden_in_view.append([cloud.hide_viewport for cloud in now])
    told |= {"world_from_cam": poses, "clip_from_cam": lenses, "shown": shown}
    told["hidden_in_view"] = hidden_in_view
    for number, cloud in enumerate(clouds):
        mesh = cloud.data
        co = np.zeros(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", co)
        matrix = np.array(cloud.matrix_world)
        told[f"points_{number}"] = co.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
        rgba = np.zeros(4 * len(mesh.vertices), np.float32)
        mesh.attributes["Col"].data.foreach_get("color_srgb", rgba)
        told[f"colours_{number}"] = rgba.reshape(-1, 4)
        told[f"modifiers_{number}"] = [one.node_group.name for one in cloud.modifiers]
    (background,) = scene.camera.data.background_images
    user = background.image_user
    told["background"] = [
        background.image.source,
        background.image.filepath,
        str((user.frame_start, user.frame_offset, user.frame_duration)),
        str(scene.camera.data.show_background_images),
    ]
    return {name: np.asarray(value) for name, value in told.items()}


if __name__ == "__main__":
    main()
