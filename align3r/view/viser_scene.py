"""The nodes of a reconstruction in viser, shared by the live viewer and scene.html."""

from __future__ import annotations

import contextlib
import io
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from align3r.errors import InputError
from align3r.reconstruction import Reconstruction
from align3r.view.palette import time_colour
from align3r.view.sampling import Cloud, grid_stride, typical_depth

if TYPE_CHECKING:
    import viser


@dataclass(frozen=True)
class Look:
    """The viewer's own frame and the sizes of what is drawn in it.

    The unit of the viewer is the typical depth: its camera controls and clipping planes suit
    that, while scenes come in any unit. Its origin is among the cameras, where float32 is finest.
    """

    centre: np.ndarray
    """(3,) world point that is the origin of the viewer."""
    unit: float
    """Typical depth in scene units, the length of 1 in the viewer."""
    frustum: float
    """Length of a camera frustum, in the viewer."""
    point: float
    """Size of a point, in the viewer."""

    def to_viewer(self, world: np.ndarray) -> np.ndarray:
        """(..., 3) world points in the frame of the viewer, float32."""
        return np.asarray((world - self.centre) / self.unit, np.float32)


def choose_look(scene: Reconstruction, *, max_points: int) -> Look:
    """Sizes from the typical depth, the camera path and the density of the static points."""
    depth = typical_depth(scene)
    centres = scene.world_from_cam[:, :3, 3]
    path = float(np.linalg.norm(np.diff(centres, axis=0), axis=1).sum())
    frustum = float(np.clip(path / depth / 12, 0.04, 0.12))
    # Large enough to close the gaps between neighbours of the grid, seen from near the cameras.
    pixels = 0.8 + 0.5 * grid_stride(scene, max_points=max_points)
    point = pixels / float(np.median(scene.intrinsics[:, 0, 0]))
    return Look(centres.mean(axis=0), depth, frustum, point)


def start_server(host: str, port: int, *, label: str = "align3r") -> viser.ViserServer:
    """A quiet viser server on this host; port 0 takes any free one.

    Raises:
        InputError: The host cannot be listened on.
    """
    try:
        with socket.socket() as probe:
            probe.bind((host, 0))
    except OSError as error:
        # viser would try a thousand ports and then wait for ever.
        raise InputError(
            f"cannot listen on {host}: {error.strerror or error}", hint="use --host 127.0.0.1"
        ) from error
    import viser

    with contextlib.redirect_stdout(io.StringIO()):  # viser prints a banner of its own
        return viser.ViserServer(host=host, port=port, label=label, verbose=False)


def stop_server(server: viser.ViserServer) -> None:
    """Stop quietly."""
    with contextlib.redirect_stdout(io.StringIO()):
        server.stop()


def set_stage(server: viser.ViserServer, scene: Reconstruction, look: Look) -> None:
    """World up, light-grey stage and a first view from behind and above the middle camera."""
    # OpenCV axes: y points down, so up is -y.
    server.scene.set_up_direction("-y")
    server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False)
    middle = scene.world_from_cam[len(scene) // 2]
    forward = scene.world_from_cam[:, :3, 2].mean(axis=0)
    forward = forward / max(float(np.linalg.norm(forward)), 1e-9)
    if np.linalg.norm(forward) < 0.5:  # cameras that look all around have no mean direction
        forward = middle[:3, 2]
    centre = look.to_viewer(middle[:3, 3])
    server.initial_camera.position = centre - 0.75 * forward + np.array([0.0, -0.45, 0.0])
    server.initial_camera.look_at = centre + 0.8 * forward
    server.initial_camera.fov = float(np.radians(55))
    server.initial_camera.near = 1e-3
    server.initial_camera.far = 1e3


def add_path(server: viser.ViserServer, scene: Reconstruction, look: Look) -> None:
    """The camera path as a line from blue (start) to orange (end)."""
    n = len(scene)
    if n < 2:
        return
    line = look.to_viewer(scene.world_from_cam[:, :3, 3])
    colours = np.array([time_colour(i / (n - 1)) for i in range(n)], np.uint8)
    server.scene.add_line_segments(
        "/cameras/path",
        np.stack([line[:-1], line[1:]], axis=1),
        np.stack([colours[:-1], colours[1:]], axis=1),
        thickness=0.03 * look.frustum,
    )


def add_frustum(
    server: viser.ViserServer,
    scene: Reconstruction,
    i: int,
    *,
    look: Look,
    name: str,
    thumbnail: int = 0,
    visible: bool = True,
) -> Any:
    """Camera i as a frustum; with `thumbnail` > 0 its image, that many pixels wide, inside it.

    viser's frusta have a centred principal point; the drawn one is off by its distance from
    the image centre, which the eye does not see.
    """
    width, height = scene.size
    small = thumb(scene.image(i), thumbnail) if thumbnail else None
    return server.scene.add_camera_frustum(
        name,
        fov=float(2 * np.arctan(height / (2 * scene.intrinsics[i, 1, 1]))),
        aspect=width / height,
        scale=look.frustum * (1.3 if thumbnail else 0.45),
        thickness=(0.03 if thumbnail else 0.015) * look.frustum,
        color=time_colour(i / max(len(scene) - 1, 1)),
        image=small,
        format="jpeg",
        jpeg_quality=75,
        wxyz=quat_wxyz(scene.world_from_cam[i, :3, :3]),
        position=look.to_viewer(scene.world_from_cam[i, :3, 3]),
        cast_shadow=False,
        receive_shadow=False,
        visible=visible,
    )


def add_cloud(
    server: viser.ViserServer, name: str, cloud: Cloud, *, look: Look, visible: bool = True
) -> Any:
    """A coloured point cloud around the viewer's origin."""
    return server.scene.add_point_cloud(
        name,
        points=look.to_viewer(cloud.points),
        colors=cloud.colours,
        point_size=look.point,
        point_shape="circle",
        point_shading="flat",
        precision="float32",
        visible=visible,
    )


def thumb(image: np.ndarray, width: int) -> np.ndarray:
    """An RGB image at most `width` pixels wide."""
    scale = min(1.0, width / image.shape[1])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def quat_wxyz(rotation: np.ndarray) -> np.ndarray:
    """(4,) unit quaternion, w first as viser wants it, of a (3, 3) rotation."""
    from scipy.spatial.transform import Rotation

    x, y, z, w = Rotation.from_matrix(rotation).as_quat()
    return np.array([w, x, y, z])
