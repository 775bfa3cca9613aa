"""Run a command and print its exit code, seconds and peak memory: `python peak.py COMMAND ...`.

Linux counts what the parent held when it started a child as memory of the child, so a benchmark
that has filled its own memory measures through this small process. Standard library only.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time


def main() -> None:
    start = time.perf_counter()
    process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    cost = {
        "exit_code": process.returncode,
        "seconds": time.perf_counter() - start,
        "peak_gb": usage.ru_maxrss * unit / 1e9,
    }
    print(json.dumps(cost))


if __name__ == "__main__":
    main()
