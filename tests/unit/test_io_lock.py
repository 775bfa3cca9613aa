"""One output, one run: the lock is refused to a second run and dies with its process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from align3r.errors import InputError, UsageError
from align3r.io.lock import one_run_at_a_time

HOLD = """
import sys, time
from pathlib import Path
from align3r.io.lock import one_run_at_a_time
with one_run_at_a_time(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_run_is_refused_and_a_killed_one_is_not_in_the_way(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = [sys.executable, "-c", HOLD, str(out)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"another run is writing {out}") as refused:
            with one_run_at_a_time(out):
                pass
        assert "-o" in refused.value.hint
        with one_run_at_a_time(tmp_path / "other"):
            pass
        holder.send_signal(signal.SIGKILL)
    assert [path.name for path in tmp_path.iterdir()] == [".out.lock"]
    with one_run_at_a_time(out):
        pass
    assert list(tmp_path.iterdir()) == []


def test_folders_made_for_the_lock_go_unless_they_are_used(tmp_path: Path) -> None:
    with pytest.raises(KeyError), one_run_at_a_time(tmp_path / "a" / "b" / "out"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with one_run_at_a_time(tmp_path / "a" / "b" / "out"):
        (tmp_path / "a" / "b" / "out").mkdir()
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["out"]


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a /proc that takes no files")
@pytest.mark.parametrize("place", ["/proc/out", "/proc/a/b/out"])
def test_a_place_that_takes_no_files_is_not_called_busy(place: str) -> None:
    with pytest.raises(InputError, match=f"^{place} cannot be written") as refused:
        with one_run_at_a_time(Path(place)):
            pass
    assert "-o" in refused.value.hint


def test_a_folder_that_goes_now_and_then_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if another run removed what it had made just before we open the file in it."""
    opened, tries = os.open, 0

    def often_gone(path: Path, *more: int) -> int:
        nonlocal tries
        tries += 1
        if tries < 50:
            Path(path).parent.rmdir()
        return opened(path, *more)

    monkeypatch.setattr(os, "open", often_gone)
    with one_run_at_a_time(tmp_path / "a" / "out"):
        assert tries == 50


def test_never_two_at_a_time(tmp_path: Path) -> None:
    """Many take and remove the file at once; the count inside never passes one."""
    inside, most, held = 0, 0, 0
    counting = threading.Lock()

    def often() -> None:
        nonlocal inside, most, held
        for _ in range(200):
            try:
                with one_run_at_a_time(tmp_path / "out"):
                    with counting:
                        inside, held = inside + 1, held + 1
                        most = max(most, inside)
                    with counting:
                        inside -= 1
            except UsageError:
                continue

    threads = [threading.Thread(target=often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1 and held >= 200 // 4
    assert list(tmp_path.iterdir()) == []
