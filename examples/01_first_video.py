"""Lesson 1: from a video to a folder of results, as one types it in a terminal.

align3r reconstruct examples/clip.mp4 -o out/first_video
"""

import subprocess
from pathlib import Path

video = Path(__file__).with_name("clip.mp4")
out = Path("out/first_video")

# Any video will do; no options are needed. Calling it again needs another folder, or this option.
command = ["align3r", "reconstruct", str(video), "-o", str(out), "--output.overwrite"]
print("$", *command)
subprocess.run(command, check=True)

print("\nWhat is in the folder:")
for path in sorted(out.iterdir()):
    inside = f" ({len(list(path.iterdir()))} files)" if path.is_dir() else ""
    print(f"  {path.name}{inside}")
print(f"\nOpen {out / 'scene.html'} in a browser, or type: align3r view {out}")
