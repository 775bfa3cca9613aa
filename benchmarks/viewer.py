"""How fast the viewer opens and draws, against frames: `python benchmarks/viewer.py RESULT`.

A result folder is repeated to the wanted number of frames (its own frames forwards and backwards
in turn, files copied), looked at by `align3r view` and written as scene.html, in headless Chromium
that draws on the processor (SwiftShader): a graphics card is faster.

Columns: seconds from the start of the command to the first points on the screen, and to all of
them; frame rate while the view turns, with as many points as the page chooses, and their share;
peak memory of the server; what lies on the graphics card; seconds and size of scene.html, and
seconds until it shows points.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "browser"))

from devtools import Browser, find_chromium

from align3r.io.result import load
from align3r.view.html import write_html

VISIBLE = "window.align3r && align3r.state.static > 0 && align3r.state.drawn > 0"
LOADED = "align3r.results.every((r) => r.loading !== 'points')"
TURN = """new Promise((done) => {
  const { eye, state } = align3r, start = performance.now();
  let frames = 0;
  eye.fingers.set(0, [0, 0]);
  const step = (now) => {
    eye.orbit(0.02, 0);
    frames++;
    if (now - start < 4000) return requestAnimationFrame(step);
    eye.fingers.clear();
    done([(frames * 1000) / (now - start), state.detail]);
  };
  requestAnimationFrame(step);
})"""
BYTES = """align3r.results.flatMap((r) => [...r.static, ...r.trails, ...r.moments.values()])
  .reduce((sum, thing) => sum + thing.bytes, 0)"""


def repeated(source: Path, folder: Path, n: int) -> Path:
    """A result of n frames: those of `source` forwards and backwards in turn."""
    about = json.loads((source / "scene.json").read_text())
    m = about["n_frames"]
    wave = np.concatenate([np.arange(m), np.arange(m - 2, 0, -1)]) if m > 2 else np.arange(m)
    order = np.resize(wave, n)
    for kind, suffix in (("depth", "exr"), ("moving", "png"), ("images", "jpg")):
        (folder / kind).mkdir(parents=True)
        for i, k in enumerate(order):
            file = source / kind / f"{k:06d}.{suffix}"
            shutil.copyfile(file, folder / kind / f"{i:06d}.{suffix}")
    stored = dict(np.load(source / "cameras.npz"))
    cameras = {name: stored[name][order] for name in ("world_from_cam", "K")}
    step = float(np.median(np.diff(stored["time"]))) if m > 1 else 0.1
    np.savez(folder / "cameras.npz", **cameras, time=step * np.arange(n), frame=np.arange(n))
    (folder / "scene.json").write_text(json.dumps({**about, "n_frames": n}))
    return folder


def live(browser: Browser, folder: Path) -> dict[str, Any]:
    """What `align3r view` costs."""
    command = [sys.executable, "-m", "align3r", "view", str(folder), "--port", "0"]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = next(w for w in process.stdout.readline().split() if w.startswith("http"))
        answers = time.perf_counter() - start
        browser.open(address)
        browser.wait_for(VISIBLE)
        visible = time.perf_counter() - start
        browser.run("align3r.play(false)")
        browser.wait_for(LOADED, seconds=300)
        whole = time.perf_counter() - start
        browser.wait_for("align3r.results.every((r) => r.loading === '')", seconds=900)
        rate, share = browser.run(TURN)
        status = Path(f"/proc/{process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return {
            "answers_s": answers,
            "visible_s": visible,
            "whole_s": whole,
            "trails_s": time.perf_counter() - start - 4,
            "fps": rate,
            "share": share,
            "server_mb": int(peak.split()[1]) / 1024,
            "card_mb": browser.run(BYTES) / 1e6,
            "points": browser.run("align3r.state.static"),
        }
    finally:
        process.terminate()
        process.wait()


def written(browser: Browser, folder: Path) -> dict[str, Any]:
    """What scene.html costs."""
    path = folder / "scene.html"
    start = time.perf_counter()
    write_html(load(folder), path)
    seconds = time.perf_counter() - start
    start = time.perf_counter()
    browser.open(path.as_uri())
    browser.wait_for(VISIBLE)
    return {
        "html_s": seconds,
        "html_mb": path.stat().st_size / 1e6,
        "html_visible_s": time.perf_counter() - start,
    }


def row(cost: dict[str, Any]) -> list[str]:
    return [
        f"{cost['frames']}",
        f"{cost['visible_s']:.2f}",
        f"{cost['whole_s']:.1f}",
        f"{cost['points']:,}",
        f"{cost['fps']:.0f} ({cost['share']:.0%})",
        f"{cost['server_mb']:.0f}",
        f"{cost['card_mb']:.0f}",
        f"{cost['html_mb']:.1f}",
        f"{cost['html_s']:.0f}",
        f"{cost['html_visible_s']:.2f}",
    ]


HEAD = [
    "frames",
    "first points, s",
    "all points, s",
    "points",
    "frames a second (points drawn)",
    "server peak, MB",
    "on the card, MB",
    "scene.html, MB",
    "written in, s",
    "opens in, s",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("--frames", type=int, nargs="+", default=[10, 100, 300, 1000])
    parser.add_argument("--json", type=Path)
    words = parser.parse_args()
    program = find_chromium()
    if program is None:
        sys.exit("neither chromium nor google-chrome is on the PATH")
    costs: list[dict[str, Any]] = []
    browser = Browser(program)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            for n in words.frames:
                folder = repeated(words.result, Path(scratch) / f"{n}", n)
                costs.append({"frames": n, **live(browser, folder), **written(browser, folder)})
                print(json.dumps(costs[-1]), file=sys.stderr, flush=True)
    finally:
        browser.close()
    lines = [HEAD, ["---:"] * len(HEAD), *(row(cost) for cost in costs)]
    print("\n".join(f"| {' | '.join(line)} |" for line in lines))
    if words.json:
        machine = {"cpus": os.cpu_count()}
        words.json.write_text(json.dumps({"machine": machine, "rows": costs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
