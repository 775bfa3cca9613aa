"""Every stage has its own seconds and its own peak of memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from align3r.stopwatch import Stopwatch


def test_a_row_a_stage() -> None:
    watch = Stopwatch()
    with watch.stage("one"):
        time.sleep(0.02)
    with watch.stage("two"):
        pass
    assert [row["stage"] for row in watch.rows] == ["one", "two"]
    assert float(watch.rows[0]["seconds"]) >= 0.02 > float(watch.rows[1]["seconds"])


@pytest.mark.skipif(
    not os.access("/proc/self/clear_refs", os.W_OK), reason="this system forgets no earlier peak"
)
def test_a_small_stage_after_a_large_one_is_small() -> None:
    """In a process of its own: a parent's peak would be inherited."""
    program = (
        "from align3r.stopwatch import Stopwatch\n"
        "watch = Stopwatch()\n"
        "with watch.stage('large'):\n"
        "    memory = bytearray(b'1') * 300_000_000\n"
        "del memory\n"
        "with watch.stage('small'):\n"
        "    pass\n"
        "large, small = (row['peak_mb'] for row in watch.rows)\n"
        "assert large > 300 > small, (large, small)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
