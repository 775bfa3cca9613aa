"""The live viewer: timeline, cameras, coloured points, switches; in the browser, by viser."""

from __future__ import annotations

import functools
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from align3r.reconstruction import Reconstruction
from align3r.view import viser_scene as vs
from align3r.view.palette import spread
from align3r.view.sampling import Cloud, frame_cloud, moving_cloud, static_cloud

if TYPE_CHECKING:
    import viser

MOST_STATIC = 400_000
MOST_MOVING = 40_000
MOST_OF_FRAME = 120_000


def serve(
    scene: Reconstruction, *, host: str = "127.0.0.1", port: int = 8080, block: bool = True
) -> Viewer:
    """Show a reconstruction in the browser.

    The server listens on this machine alone unless another host is given. If the port is
    taken, the next free one is used: `viewer.url` tells. Frames are read when they are shown.

    Args:
        scene: The reconstruction.
        host: Address to listen on.
        port: First port to try; 0 takes any free one.
        block: Stay until interrupted; otherwise return at once and leave the server running.

    Returns:
        The running viewer.

    Raises:
        InputError: The host cannot be listened on.
    """
    viewer = Viewer(scene, host=host, port=port)
    if block:
        viewer.wait()
    return viewer


@dataclass
class Nodes:
    """What stands in the scene now."""

    static: Any = None
    moving: Any = None
    camera: Any = None
    others: list[Any] = field(default_factory=list)


class Viewer:
    """A running viewer of one reconstruction."""

    def __init__(self, scene: Reconstruction, *, host: str, port: int) -> None:
        """Start the server and put up the first frame."""
        self.scene = scene
        self.server = vs.start_server(host, port)
        self.look = vs.choose_look(scene, max_points=MOST_STATIC)
        self._nodes = Nodes()
        self._lock = threading.RLock()
        self._stopped = threading.Event()
        self._whole = static_cloud(scene, max_points=MOST_STATIC)
        self._moving = functools.lru_cache(maxsize=128)(self._read_moving)
        self._frame = functools.lru_cache(maxsize=8)(self._read_frame)
        vs.set_stage(self.server, scene, self.look)
        vs.add_path(self.server, scene, self.look)
        for i in spread(len(scene), 60):
            name = f"/cameras/all/{i:06d}"
            self._nodes.others.append(
                vs.add_frustum(self.server, scene, int(i), look=self.look, name=name)
            )
        self.panel = Panel(self.server, scene, self.look, self._whole)
        self._connect()
        self.show_static()
        self.show_moment()
        threading.Thread(target=self._play, daemon=True).start()

    @property
    def url(self) -> str:
        """Address to open in the browser."""
        return f"http://{self.server.get_host()}:{self.server.get_port()}"

    def wait(self) -> None:
        """Stay until `close` is called or the program is interrupted."""
        try:
            while not self._stopped.wait(0.5):
                pass
        finally:
            self.close()

    def close(self) -> None:
        """Stop the server."""
        with self._lock:  # a picture that is being put up is finished first
            if not self._stopped.is_set():
                self._stopped.set()
                vs.stop_server(self.server)

    def show_static(self) -> None:
        """Put up the static points that the switches and the confidence slider let through."""
        panel = self.panel
        with self._lock:
            if self._stopped.is_set():
                return
            cloud = self._frame(panel.frame.value) if panel.only_frame.value else self._whole
            keep = ~cloud.moving & (cloud.confidence >= panel.confidence.value)
            self._nodes.static = self._put("/static points", cloud.pick(keep), panel.static.value)

    def show_moment(self) -> None:
        """Put up the moving points and the camera of the current frame."""
        i = self.panel.frame.value
        with self._lock, self.server.atomic():
            if self._stopped.is_set():
                return
            self._nodes.moving = self._put(
                "/moving points", self._moving(i), self.panel.moving.value
            )
            self._nodes.camera = vs.add_frustum(
                self.server,
                self.scene,
                i,
                look=self.look,
                name="/cameras/current",
                thumbnail=256,
                visible=self.panel.cameras.value,
            )
            if self.panel.only_frame.value:
                self.show_static()
        if self.panel.follow.value:
            self._follow(i)

    def _put(self, name: str, cloud: Cloud, visible: bool) -> Any:
        node = vs.add_cloud(self.server, name, cloud, look=self.look, visible=visible)
        node.point_size = self.panel.point_size.value * self.look.point
        return node

    def _read_moving(self, i: int) -> Cloud:
        return moving_cloud(self.scene, i, max_points=MOST_MOVING)

    def _read_frame(self, i: int) -> Cloud:
        width, height = self.scene.size
        stride = max(1, int(np.ceil(np.sqrt(width * height / MOST_OF_FRAME))))
        return frame_cloud(self.scene, i, stride=stride)

    def _follow(self, i: int) -> None:
        """Bring every visitor to camera i, a little behind it."""
        pose = self.scene.world_from_cam[i]
        centre = self.look.to_viewer(pose[:3, 3])
        for client in self.server.get_clients().values():
            with client.atomic():
                client.camera.up_direction = -pose[:3, 1]
                client.camera.position = centre - 0.3 * pose[:3, 2]
                client.camera.look_at = centre + pose[:3, 2]

    def _connect(self) -> None:
        """Tie the panel to what is shown."""
        panel, nodes = self.panel, self._nodes
        panel.frame.on_update(lambda _: self.show_moment())
        panel.follow.on_update(lambda _: self.show_moment())
        panel.confidence.on_update(lambda _: self.show_static())
        panel.only_frame.on_update(lambda _: self.show_static())

        def switch(_: object) -> None:
            nodes.static.visible = panel.static.value
            nodes.moving.visible = panel.moving.value
            for node in [nodes.camera, *nodes.others]:
                node.visible = panel.cameras.value

        def resize(_: object) -> None:
            for node in (nodes.static, nodes.moving):
                node.point_size = panel.point_size.value * self.look.point

        for handle in (panel.static, panel.moving, panel.cameras):
            handle.on_update(switch)
        panel.point_size.on_update(resize)

    def _play(self) -> None:
        """Advance the timeline while the play button is on."""
        n = len(self.scene)
        while not self._stopped.is_set():
            started = time.monotonic()
            if self.panel.play.value and n > 1:
                self.panel.frame.value = (self.panel.frame.value + 1) % n
            pause = 1.0 / self.panel.fps.value - (time.monotonic() - started)
            self._stopped.wait(max(pause, 0.005))


class Panel:
    """The controls, and where their values live."""

    def __init__(
        self, server: viser.ViserServer, scene: Reconstruction, look: vs.Look, whole: Cloud
    ) -> None:
        """Add the controls to the panel of the server."""
        gui, n = server.gui, len(scene)
        steps = np.diff(scene.times)
        fps = int(np.clip(np.rint(1 / np.median(steps)), 1, 60)) if len(steps) else 10
        with gui.add_folder("Time"):
            # viser refuses sliders without a range; one frame gets a disabled one.
            self.frame: Any = gui.add_slider(
                "Frame", min=0, max=max(n - 1, 1), step=1, initial_value=0, disabled=n < 2
            )
            self.play = gui.add_checkbox("Play", initial_value=n > 1, disabled=n < 2)
            self.fps = gui.add_slider("FPS", min=1, max=60, step=1, initial_value=fps)
            self.follow = gui.add_checkbox(
                "Follow camera", initial_value=False, hint="Look through the current camera"
            )
        with gui.add_folder("Show"):
            self.static = gui.add_checkbox("Static points", initial_value=True)
            self.only_frame = gui.add_checkbox(
                "This frame only", initial_value=False, hint="All pixels of the current frame"
            )
            self.moving = gui.add_checkbox("Moving points", initial_value=True)
            self.cameras = gui.add_checkbox("Cameras", initial_value=True)
        top = float(np.percentile(whole.confidence, 99)) if len(whole) else 2.0
        top = max(round(top, 1), 2.0)
        with gui.add_folder("Points"):
            self.confidence = gui.add_slider(
                "Least confidence", min=1.0, max=top, step=0.05, initial_value=min(1.5, top)
            )
            self.point_size = gui.add_slider(
                "Point size", min=0.2, max=4.0, step=0.1, initial_value=1.0
            )
        gui.add_markdown(
            f"{n} frames, {scene.size[0]}x{scene.size[1]}, scale: {scene.scale}, "
            f"typical depth {look.unit:.3g}"
        )
