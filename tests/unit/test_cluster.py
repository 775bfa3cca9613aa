"""What is sent to Ray, asked of it and ended, with a Ray that only notes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from align3r.cluster import Cluster, Died, Needs
from align3r.cluster.tasks import _run
from align3r.errors import UsageError


class RayError(Exception):
    pass


class RayTaskError(RayError):
    pass


class OutOfMemoryError(RayError):
    pass


class NotedRay:
    """Stands for the module `ray`."""

    exceptions = SimpleNamespace(
        RayError=RayError, RayTaskError=RayTaskError, OutOfMemoryError=OutOfMemoryError
    )

    def __init__(self, *machines: dict[str, float], fails: Sequence[object] = ()) -> None:
        self.machines = machines or ({"CPU": 8, "memory": 32e9},)
        self.fails = fails
        self.cancelled: list[tuple[object, bool]] = []
        self.sent: list[tuple[dict[str, Any], Callable[..., Any], tuple[Any, ...]]] = []

    def nodes(self) -> list[dict[str, Any]]:
        return [
            {"NodeID": f"machine {k}", "Alive": machine.get("alive", 1), "Resources": machine}
            for k, machine in enumerate(self.machines)
        ]

    def remote(self, **needs: Any) -> Callable[[Callable[..., Any]], Any]:
        def wrapped(work: Callable[..., Any]) -> Any:
            return SimpleNamespace(remote=lambda *task: self.sent.append((needs, work, task)))

        return wrapped

    def wait(
        self, sent: list[object], *, num_returns: int, timeout: float
    ) -> tuple[list[object], list[object]]:
        assert (num_returns, timeout) == (1, 2.5)
        return sent[-1:], sent[:-1]

    def get(self, sent: object) -> object:
        if isinstance(sent, Exception):
            raise sent
        return sent

    def cancel(self, sent: object, *, force: bool) -> None:
        self.cancelled.append((sent, force))
        if sent in self.fails:
            raise RayError("it is gone already")


def test_every_worker_is_ended_by_force_whatever_becomes_of_the_others() -> None:
    ray = NotedRay(fails=["a", "b"])
    Cluster(ray).end(["a", "b", "c"])
    assert ray.cancelled == [("a", True), ("b", True), ("c", True)]
    Cluster(ray).end([])
    assert len(ray.cancelled) == 3


def test_ctrl_c_while_workers_are_ended_is_not_swallowed() -> None:
    ray = NotedRay()
    ray.cancel = lambda sent, *, force: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore
    with pytest.raises(KeyboardInterrupt):
        Cluster(ray).end(["a"])


def test_a_task_goes_with_its_needs_and_its_part_of_every_machine() -> None:
    ray = NotedRay({"CPU": 8, "memory": 1}, {"CPU": 16, "GPU": 4, "memory": 1})
    Cluster(ray).send(print, "a task", Needs(4, 1.0))
    ((needs, work, task),) = ray.sent
    assert needs == {"num_cpus": 4, "num_gpus": 1.0, "max_retries": 0, "max_calls": 1}
    assert work is _run and task == (print, "a task", 4, {"machine 0": 0.5, "machine 1": 0.25})


def test_answers_and_those_that_never_come() -> None:
    cluster = Cluster(NotedRay())
    assert cluster.wait(["a", "b"], timeout_s=2.5) == ["b"]
    assert cluster.answer("done") == "done"
    assert cluster.answer(OutOfMemoryError()) == Died(
        "the machine ran out of memory, and Ray ended the worker", 4
    )
    trace = "ray::_run()\n  File x\n\nModuleNotFoundError: no align3r\n"
    begun = cluster.answer(RayTaskError(trace))
    assert begun == Died("the worker could not begin: ModuleNotFoundError: no align3r", 1)
    assert cluster.answer(RayError("gone")) == Died("the worker died (RayError)", 1)
    with pytest.raises(ZeroDivisionError):
        cluster.answer(ZeroDivisionError())


@pytest.mark.parametrize(
    ("machine", "n_videos", "asked", "cpus"),
    [
        ({"CPU": 8, "memory": 32e9}, 3, None, 2),
        ({"CPU": 8, "memory": 32e9}, 100, None, 1),
        ({"CPU": 8, "memory": 8e9}, 100, None, 4),
        ({"CPU": 8, "memory": 32e9}, 1, None, 8),
        ({"CPU": 8, "memory": 32e9}, 1, 3, 3),
    ],
)
def test_videos_take_equal_parts_of_what_the_memory_allows(
    machine: dict[str, float], n_videos: int, asked: int | None, cpus: int
) -> None:
    cluster = Cluster(NotedRay(machine))
    assert not cluster.has_gpu
    needs = cluster.needs(n_videos, cpus=asked, gpus=None)
    assert needs == Needs(cpus, 0.0)
    slots = math.floor(8 / cpus)
    assert f"1 machine, at most {slots} video" in cluster.describe(needs)


def test_what_no_machine_has_is_refused() -> None:
    cluster = Cluster(NotedRay({"CPU": 8, "memory": 1}, {"CPU": 64, "GPU": 2, "alive": 0}))
    with pytest.raises(UsageError, match="take 1 GPUs, and the largest machine has 0"):
        cluster.needs(1, cpus=None, gpus=1.0)
    with pytest.raises(UsageError, match="take 9 CPUs, and the largest machine has 8"):
        cluster.needs(1, cpus=9, gpus=None)
    with pytest.raises(UsageError, match="no machine with a CPU"):
        Cluster(NotedRay({"memory": 1}))
