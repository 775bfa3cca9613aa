"""Thousands of broken files for every reader: none may crash, hang, grow, write or run anything.

    python benchmarks/fuzz.py --files 2000 --json fuzz.json

Files are broken and read in child processes, so that a library that takes its process down, does
not end or eats the memory is noticed and named. The same seed breaks the same files.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FINE = ("read", "exit code")
"""Outcomes that begin so are fine, and so is every error of the family."""
FAMILY = ("InputError", "TooLargeError", "UsageError", "NoRoomError", "SolveError", "WeightsError")


@dataclass
class Tally:
    """What became of the broken files of one reader."""

    reader: str
    files: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    slowest: float = 0.0
    peak_mb: float = 0.0
    """Largest resident memory."""
    whole_mb: float = 0.0
    """The same after reading whole files: what the libraries take."""

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "outcomes": dict(self.outcomes)}

    def add(self, told: dict[str, Any]) -> None:
        outcome = told["outcome"]
        if told["number"] < 0:
            self.whole_mb = max(self.whole_mb, told["peak_mb"])
            if outcome not in ("read", "exit code 0"):
                raise RuntimeError(f"{self.reader}: whole files give {outcome}\n{told['trace']}")
            return
        self.files += 1
        self.outcomes[outcome] += 1
        self.slowest = max(self.slowest, told["seconds"])
        self.peak_mb = max(self.peak_mb, told["peak_mb"])
        if not outcome.startswith(FINE) and outcome not in FAMILY:
            self.findings.append(told)


class Child:
    """A process that breaks files, watched for time and memory."""

    def __init__(self, reader: str, first: int, args: argparse.Namespace, folder: Path) -> None:
        command = [sys.executable, str(HERE / "fuzz_child.py"), reader, str(args.seed)]
        command += [str(first), str(args.first + args.files), str(folder)]
        # Its own threads would only count against it.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        self.lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put(None)

    def rss_mb(self) -> float:
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return 0.0
        found = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")]
        return int(found[0]) / 1000 if found else 0.0

    def stop(self) -> int:
        """End it, if it has not ended; its exit status."""
        if self.process.poll() is None:
            self.process.kill()
        return self.process.wait()


def fuzz(reader: str, args: argparse.Namespace) -> Tally:
    """Break `args.files` files of one reader; a child that dies is followed by another."""
    tally = Tally(reader)
    started = time.monotonic()
    number = args.first
    with tempfile.TemporaryDirectory(prefix="align3r-fuzz-") as place:
        while number < args.first + args.files:
            number = _run_child(number, args, Path(place), tally)
    tally.seconds = time.monotonic() - started
    return tally


def _run_child(first: int, args: argparse.Namespace, place: Path, tally: Tally) -> int:
    """Follow one child to its end, however it ends; the number of the next file."""
    reader = tally.reader
    child = Child(reader, first, args, place / "work")
    doing, name, since = first, "", time.monotonic()
    try:
        while True:
            try:
                line = child.lines.get(timeout=0.05)
            except queue.Empty:
                late = time.monotonic() - since > (args.timeout if name else 120)
                if late or child.rss_mb() > args.memory_mb:
                    outcome = "hang" if late else "memory"
                    break
                continue
            if line is None:
                status = child.process.wait()
                if status == 0:
                    return args.first + args.files
                outcome = f"crash {signal.Signals(-status).name}" if status < 0 else "ended"
                break
            told = json.loads(line)
            since = time.monotonic()
            if "start" in told:
                doing, name = told["start"], told["name"]
            else:
                tally.add({"number": told.pop("end"), "reader": reader, **told})
    finally:
        child.stop()
    if doing < 0 or not name:
        raise RuntimeError(f"{reader}: whole files end in {outcome}")
    seconds = time.monotonic() - since
    about = {"number": doing, "reader": reader, "name": name, "outcome": outcome}
    tally.add({**about, "seconds": seconds, "peak_mb": child_peak(outcome, args), "trace": ""})
    if args.keep:
        label = f"{reader}-{doing}-{name}"
        _keep(place / "work" / "files" / name, args.keep, label)
    return doing + 1


def child_peak(outcome: str, args: argparse.Namespace) -> float:
    return float(args.memory_mb) if outcome == "memory" else 0.0


def _keep(broken: Path, folder: Path, label: str) -> None:
    """Keep a file that took its process down, for whoever mends the reader."""
    folder.mkdir(parents=True, exist_ok=True)
    label = label.replace("/", "_").replace(" ", "_").replace(":", "")
    (folder / label).write_bytes(broken.read_bytes())


def table(tallies: list[Tally]) -> str:
    """Markdown."""
    lines = [
        "| reader | files | read | refused | uncaught | crash, hang | slowest s | memory MB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for t in tallies:
        read = t.outcomes["read"] + t.outcomes["exit code 0"]
        died = sum(n for o, n in t.outcomes.items() if o.startswith(("crash", "hang", "memory")))
        bad = len(t.findings) - died
        refused = t.files - read - died - bad
        memory = max(t.peak_mb - t.whole_mb, 0)
        lines.append(
            f"| {t.reader} | {t.files} | {read} | {refused} | {bad} | {died} | {t.slowest:.2f} | "
            f"+{memory:.0f} |"
        )
    return "\n".join(lines)


def main() -> int:
    from fuzz_readers import READERS

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--readers", nargs="*", default=list(READERS), help="parts of names")
    parser.add_argument(
        "--files", type=int, default=1000, help="broken files a reader, fewer for slow ones"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=20.0, help="seconds a file may take")
    parser.add_argument("--memory-mb", type=float, default=2500.0, help="most resident memory")
    parser.add_argument("--json", type=Path, help="file for figures and findings")
    parser.add_argument("--keep", type=Path, help="folder for files that took a process down")
    args = parser.parse_args()
    chosen = [name for name in READERS if any(part in name for part in args.readers)]
    tallies = []
    for name in chosen:
        files = max(args.files // READERS[name].slow, 1)
        tallies.append(fuzz(name, argparse.Namespace(**{**vars(args), "files": files})))
        print(f"{name}: {tallies[-1].seconds:.0f} s, {dict(tallies[-1].outcomes)}", file=sys.stderr)
    print(table(tallies))
    findings = [finding for tally in tallies for finding in tally.findings]
    for finding in findings[:20]:
        print(f"\n{finding['reader']} file {finding['number']} {finding['name']}: ", end="")
        print(finding["outcome"], finding["trace"][-600:], sep="\n")
    if args.json:
        args.json.write_text(json.dumps([tally.as_json() for tally in tallies], indent=1))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
