"""Tasks sent to a Ray cluster, and what becomes of them."""

from __future__ import annotations

import math
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from align3r.errors import UsageError

_MEMORY_A_VIDEO = 4e9
"""Bytes; not more videos at a time than the memory of a machine holds of these."""


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
    """A connection to Ray; see `connection.connected`."""

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
            return Died(f"the worker could not begin: {last_line(error)}", 1)
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


def last_line(error: Exception) -> str:
    """What Ray says last, after all that it says before."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
