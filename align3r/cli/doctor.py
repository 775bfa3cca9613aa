"""`align3r doctor`: what is installed, what the machine has, and whether the core works."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from align3r.cli.arguments import Common, parse
from align3r.cli.terminal import start_log
from align3r.reconstruction import Reconstruction

LIBRARIES = (
    "torch",
    "numpy",
    "scipy",
    "roma",
    "opencv-python-headless",
    "trimesh",
    "OpenEXR",
    "tyro",
    "tqdm",
    "threadpoolctl",
    "huggingface_hub",
    "safetensors",
    "transformers",
    "pillow",
    "pycolmap",
)
EXTRAS = {
    "torchvision": "raft",
    "ray": "batch",
    "h5py": "datasets",
    "rerun-sdk": "rerun",
    "accelerate": "train",
    "peft": "train",
    "tensorboard": "train",
}
"""Library -> the extra that it comes with."""


@dataclass(frozen=True, kw_only=True)
class Doctor(Common):
    """Arguments of `align3r doctor`."""


def run(words: Sequence[str]) -> int:
    """Print the facts, run the self-test; 1 if something does not work."""
    args = parse(
        Doctor, words, command="doctor", description="Versions, device, memory and a self-test."
    )
    start_log(verbose=args.verbose, quiet=args.quiet)
    for name, value in facts():
        print(f"{name:<24} {value}")
    failed = 0
    print("\nself-test")
    for name, test in SELF_TESTS.items():
        started = time.perf_counter()
        try:
            test()
        except Exception as error:
            failed += 1
            if args.debug:
                raise
            print(f"  FAILED {name}: {type(error).__name__}: {error}")
        else:
            print(f"  ok     {name} ({time.perf_counter() - started:.1f} s)")
    print("all is well" if not failed else f"{failed} of {len(SELF_TESTS)} tests failed")
    return 1 if failed else 0


def facts() -> list[tuple[str, str]]:
    """Name and value of what a bug report should contain."""
    from align3r import __version__
    from align3r.device import free_memory_bytes, resolve_device
    from align3r.io.video_writer import find_h264_encoder

    found = [("align3r", __version__), ("python", sys.version.split()[0])]
    found.append(("system", platform.platform()))
    found += [(name, _version(name) or "not installed") for name in LIBRARIES]
    for name, extra in EXTRAS.items():
        found.append((name, _version(name) or f"not installed: pip install 'align3r[{extra}]'"))
    found.append(("device (auto)", str(resolve_device("auto"))))
    found.append(("free memory", f"{free_memory_bytes() / 1e9:.1f} GB"))
    free_disk = shutil.disk_usage(Path.cwd()).free / 1e9
    found.append(("free disk here", f"{free_disk:.1f} GB"))
    encoder = find_h264_encoder()
    other = "not found: depth.mp4 becomes MPEG-4 part 2, which not every browser plays"
    found.append(("ffmpeg with H.264", encoder or other))
    return found


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def check_flow() -> None:
    """Dense flow finds a known shift of a textured picture."""
    import cv2
    import numpy as np

    from align3r.flow.dis import DisFlow

    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.uniform(0, 255, (120, 170)).astype(np.float32), (0, 0), 2.0)
    wide = cv2.normalize(wide, np.zeros_like(wide), 0, 255, cv2.NORM_MINMAX)
    picture = np.repeat(wide.astype(np.uint8)[..., None], 3, axis=-1)
    flow = DisFlow()(picture[:, 5:165], picture[:, :160])
    found = float(np.median(flow[20:-20, 20:-20, 0]))
    if abs(found - 5.0) > 0.5:
        raise ValueError(f"a shift of 5 pixels was measured as {found:.2f}")


def check_result_folder() -> None:
    """A small scene survives saving and loading, with pictures and scene.html."""
    import numpy as np

    from align3r.config import OutputOptions
    from align3r.io.result import load
    from align3r.view.folder import save

    scene = _small_scene()
    with tempfile.TemporaryDirectory() as place:
        out = save(scene, Path(place) / "result", OutputOptions())
        again = load(out)
        if not np.array_equal(again.world_from_cam, scene.world_from_cam):
            raise ValueError("the poses read back differ from the poses written")
        if not np.array_equal(again.depth(1), scene.depth(1), equal_nan=True):
            raise ValueError("the depth read back differs from the depth written")
        for name in ("scene.html", "depth.mp4", "cameras.png", "points.ply"):
            if not (out / name).stat().st_size:
                raise ValueError(f"{name} is empty")


def _small_scene() -> Reconstruction:
    """Three views of a tilted wall."""
    import numpy as np

    from align3r.io.maps import ArrayMaps

    n, height, width = 3, 48, 64
    world_from_cam = np.tile(np.eye(4), (n, 1, 1))
    world_from_cam[:, 0, 3] = np.linspace(0, 0.4, n)
    depth = np.broadcast_to(np.linspace(2, 3, width, dtype=np.float32), (n, height, width))
    images = np.random.default_rng(0).integers(0, 256, (n, height, width, 3), dtype=np.uint8)
    maps = ArrayMaps(
        depth=depth,
        confidence=np.full(depth.shape, 3, np.float32),
        moving=np.zeros(depth.shape, bool),
        images=images,
        source_size=(width, height),
    )
    k = np.array([[60, 0, 31.5], [0, 60, 23.5], [0, 0, 1.0]])
    return Reconstruction(
        world_from_cam=world_from_cam,
        intrinsics=np.tile(k, (n, 1, 1)),
        times=np.arange(n) / 10.0,
        frame_index=np.arange(n),
        size=(width, height),
        maps=maps,
    )


SELF_TESTS: dict[str, Callable[[], None]] = {
    "dense flow": check_flow,
    "result folder, pictures, scene.html": check_result_folder,
}
