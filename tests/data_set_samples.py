"""Samples of data sets in their true formats: what is expected of them, and ways to break them."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

SAMPLES = Path(__file__).parent / "golden" / "evaluation" / "datasets"


def expected(name: str) -> Any:
    return json.loads((SAMPLES / f"{name}.expected.json").read_text(encoding="utf-8"))


def copied(name: str, folder: Path) -> Path:
    """A sample that a test may break."""
    return Path(shutil.copytree(SAMPLES / name, folder / name))


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    """Change what a .json or .jgz holds."""
    packed = path.suffix == ".jgz"
    data = path.read_bytes()
    value = json.loads(gzip.decompress(data) if packed else data)
    text = json.dumps(change(value) or value).encode()
    path.write_bytes(gzip.compress(text) if packed else text)


def check_image(image: np.ndarray, want: Mapping[str, Any]) -> None:
    table = np.array(want["rgb_probes_xy_rgb"])
    got = image[table[:, 1], table[:, 0]].astype(int)
    assert np.abs(got - table[:, 2:]).max() <= 3
    np.testing.assert_allclose(image.mean(axis=(0, 1)), want["rgb_mean"], atol=0.5)


def check_depth(depth: np.ndarray, want: Mapping[str, Any]) -> None:
    assert depth.dtype == np.float32
    for x, y, z in want["depth_probes_xy_z"]:
        wanted = np.nan if z is None else float(z)
        np.testing.assert_allclose(depth[y, x], wanted, rtol=1e-6)
    known = depth[np.isfinite(depth)].astype(np.float64)
    stats = want["depth_stats"]
    assert len(known) == stats["n_valid"]
    got = [known.min(), known.max(), known.mean()]
    np.testing.assert_allclose(got, [stats["min"], stats["max"], stats["mean"]], rtol=1e-6)


def found_again(
    depth_a: np.ndarray, depth_b: np.ndarray, k: np.ndarray, b_from_a: np.ndarray
) -> float:
    """Share of the pixels of a whose depth, seen from b, is that of b there."""
    v, u = np.nonzero(np.isfinite(depth_a))
    points = np.linalg.inv(k) @ np.stack([u, v, np.ones_like(u)]) * depth_a[v, u]
    seen = k @ (b_from_a[:3, :3] @ points + b_from_a[:3, 3:])
    x, y = np.rint(seen[:2] / seen[2]).astype(int)
    inside = (x >= 0) & (y >= 0) & (x < depth_b.shape[1]) & (y < depth_b.shape[0]) & (seen[2] > 0)
    there = depth_b[y[inside], x[inside]]
    return float((np.abs(there / seen[2][inside] - 1) < 0.03).mean())


def set_in(*keys: Any, to: Any) -> Callable[[Any], None]:
    """A change of one value of what `rewrite` gives."""

    def change(value: Any) -> None:
        for key in keys[:-1]:
            value = value[key]
        value[keys[-1]] = to

    return change


def broken(data: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """What may become of a file: cut short, empty, bits turned, something else; also packed."""
    yield b""
    yield data[: len(data) // 2]
    yield data[:-1]
    for count in (1, 3, 30):
        flipped = np.frombuffer(data, np.uint8).copy()
        flipped[rng.integers(0, len(data), count)] ^= rng.integers(1, 256, count, dtype=np.uint8)
        yield flipped.tobytes()
    yield b"nan inf 1e999 \xff\x00 -1\n" * 8
    if data.startswith(b"\x1f\x8b"):
        for part in broken(gzip.decompress(data), rng):
            yield gzip.compress(part)
