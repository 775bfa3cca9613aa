"""The only module that knows Ray: a cluster, or this machine as one; tasks sent and answered."""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from align3r.errors import MissingExtraError, UsageError
from align3r.parallel import own_cpus

log = logging.getLogger(__name__)

_OBJECT_STORE_BYTES = 80_000_000
"""Tasks and outcomes are small; Ray would take a third of the memory."""
_PATIENCE_S = 10.0
_MEMORY_A_VIDEO = 4e9
"""Bytes; not more videos at a time than the memory of a machine holds of these."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_DEDUP_LOGS": "0",
}
"""No telemetry; a task without GPU sees none. What the user has set stays."""


class Work(Protocol):
    """A function of a module, so that a worker on any machine finds it."""

    def __call__(self, task: Any, /, *, threads: int, share: float) -> Any:
        """Do a task, in so many threads and with this part of the machine."""
        ...


@dataclass(frozen=True)
class Needs:
    """What a task takes of the machine that it is computed on."""

    cpus: int
    gpus: float


@dataclass(frozen=True)
class Died:
    """A worker ended before it could answer."""

    reason: str
    """One sentence."""
    exit_code: int


@dataclass(frozen=True)
class _Machine:
    cpus: float
    gpus: float
    memory: float


class Cluster:
    """A connection to Ray; see `connected`."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        self._machines = {
            node["NodeID"]: _Machine(
                *(float(node["Resources"].get(kind, 0)) for kind in ("CPU", "GPU", "memory"))
            )
            for node in ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
        }
        if not self._machines:
            raise UsageError(
                "the Ray cluster has no machine with a CPU", hint="start one with `ray start`"
            )

    @property
    def has_gpu(self) -> bool:
        """Whether any machine has one."""
        return any(machine.gpus > 0 for machine in self._machines.values())

    def needs(self, n_videos: int, *, cpus: int | None, gpus: float | None) -> Needs:
        """What each of so many videos shall take: what was asked for, else equal parts.

        Raises:
            UsageError: No machine has as much.
        """
        gpus = 0.0 if gpus is None else gpus
        able = [m for m in self._machines.values() if m.gpus >= gpus]
        if not able:
            most = max(m.gpus for m in self._machines.values())
            raise UsageError(
                f"a video is to take {gpus:g} GPUs, and the largest machine has {most:g}",
                hint="ask for fewer with --gpus",
            )
        if cpus is None:
            cpus = min(_equal_part(m, n_videos / len(able), gpus) for m in able)
        if not any(m.cpus >= cpus for m in able):
            raise UsageError(
                f"a video is to take {cpus} CPUs, and the largest machine has "
                f"{max(m.cpus for m in able):g}",
                hint="ask for fewer with --cpus",
            )
        return Needs(cpus, gpus)

    def describe(self, needs: Needs) -> str:
        """One line for people."""
        slots = sum(
            int(min(m.cpus // needs.cpus, m.gpus // needs.gpus if needs.gpus else math.inf))
            for m in self._machines.values()
        )
        count = len(self._machines)
        return (
            f"{count} {'machine' if count == 1 else 'machines'}, at most {slots} "
            f"{'video' if slots == 1 else 'videos'} at a time with {needs.cpus} "
            f"{'CPU' if needs.cpus == 1 else 'CPUs'}"
            + (f" and {needs.gpus:g} GPUs each" if needs.gpus else " each")
        )

    def send(self, work: Work, task: Any, needs: Needs) -> Any:
        """Have a worker do it as soon as one is free; gives what to wait for."""
        shares = {
            name: max(needs.cpus / m.cpus, needs.gpus / m.gpus if m.gpus else 0.0)
            for name, m in self._machines.items()
        }
        # A process of its own for every task: what one leaves behind, the next shall not find.
        # A worker that dies is reported, so that it is we who count and try again.
        remote = self._ray.remote(
            num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=0, max_calls=1
        )(_run)
        return remote.remote(work, task, needs.cpus, shares)

    def wait(self, sent: Sequence[Any], *, timeout_s: float) -> list[Any]:
        """Those that are answered; the first, or none after so long."""
        ready, _ = self._ray.wait(list(sent), num_returns=1, timeout=timeout_s)
        return list(ready)

    def answer(self, sent: Any) -> Any:
        """What the work gave, or `Died`."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(sent)
        except errors.OutOfMemoryError:
            return Died("the machine ran out of memory, and Ray ended the worker", 4)
        except errors.RayTaskError as error:
            # The worker catches its own: it could not even begin.
            return Died(f"the worker could not begin: {_last_line(error)}", 1)
        except errors.RayError as error:
            return Died(f"the worker died ({type(error).__name__})", 1)

    def end(self, sent: Sequence[Any]) -> None:
        """End the workers of all that is not answered."""
        for one in sent:
            with suppress(Exception):
                self._ray.cancel(one, force=True)


def _run(work: Work, task: Any, threads: int, shares: dict[str, float]) -> Any:
    """Runs in a worker."""
    import ray

    # Ctrl-C is for the one who waits; it ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    share = shares.get(ray.get_runtime_context().get_node_id(), 1.0)
    return work(task, threads=threads, share=min(share, 1.0))


def _equal_part(machine: _Machine, n_videos: float, gpus: float) -> int:
    """CPUs of one of so many videos on a machine, as many at a time as its memory holds."""
    slots = min(machine.cpus, max(n_videos, 1.0), max(machine.memory / _MEMORY_A_VIDEO, 1.0))
    if gpus:
        slots = min(slots, max(machine.gpus // gpus, 1.0))
    return max(1, int(machine.cpus // math.ceil(slots)))


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


@contextmanager
def connected(address: str | None) -> Iterator[Cluster]:
    """A Ray cluster: the one at this address, one that this process has joined, or this machine.

    This machine is a cluster without dashboard and telemetry, whose processes and files are gone
    with the block.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: No cluster answers at the address.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "a cluster needs Ray, which is not installed", hint="pip install 'align3r[batch]'"
        ) from error
    if ray.is_initialized():
        if address is not None:
            raise UsageError(
                "this process has joined a Ray cluster already", hint="leave the address out"
            )
        yield Cluster(ray)
        return
    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "include_dashboard": False,
    }
    with _scratch() as scratch, _kept_signals():
        try:
            if address is not None:
                quiet.pop("include_dashboard")
                _join(ray, address, quiet)
            else:
                ray.init(
                    address="local",
                    num_cpus=own_cpus(),
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=str(scratch),
                    **quiet,
                )
            yield Cluster(ray)
        finally:
            ray.shutdown()


def _join(ray: Any, address: str, quiet: dict[str, Any]) -> None:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        # Ray itself asks for minutes, and fills the screen.
        if host and port.isdecimal():
            socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()
        ray.init(address=address, **quiet)
    except (OSError, OverflowError, ValueError, RuntimeError, ImportError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address}: {_last_line(error)}",
            hint="see `ray status`; without --address this machine is used",
        ) from error


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for Ray's logs and sockets, whose paths must be short."""
    place = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    for left in place.glob("align3r-ray-*-*"):
        if not _is_alive(left.name.split("-")[2]):  # Whoever made it was killed.
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"align3r-ray-{os.getpid()}-", dir=place, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _is_alive(pid: str) -> bool:
    """Whether there is such a process; one that we may not look at is."""
    if os.name == "nt" or not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Ray puts a handler of its own on SIGTERM; the caller's comes back at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
