"""A cluster that is the process itself: a batch that needs no Ray, and answers at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from align3r.batch import runner, worker
from align3r.batch.values import Outcome, Task
from align3r.cluster import Died, Needs

Answer = Callable[[Task], "Outcome | Died"]


class OneProcess:
    """Stands for `align3r.cluster.Cluster`; `answer_to` may be replaced."""

    has_gpu = False

    def __init__(self) -> None:
        self.sent: list[Task] = []
        self.asked: list[tuple[int | None, float | None]] = []
        self.ended = 0
        self.answer_to: Answer = lambda task: worker.reconstruct_one(task, threads=1, share=1.0)

    @contextmanager
    def connected(self, address: str | None) -> Iterator[OneProcess]:
        """Stands for the function of this name."""
        yield self

    def needs(self, n_videos: int, *, cpus: int | None, gpus: float | None) -> Needs:
        self.asked.append((cpus, gpus))
        return Needs(cpus or 1, gpus or 0)

    def describe(self, needs: Needs) -> str:
        return "one process"

    def send(self, work: object, task: Task, needs: Needs) -> int:
        self.sent.append(task)
        return len(self.sent) - 1

    def wait(self, sent: Sequence[int], *, timeout_s: float) -> list[int]:
        return [min(sent)]

    def answer(self, sent: int) -> Outcome | Died:
        return self.answer_to(self.sent[sent])

    def end(self, sent: Sequence[int]) -> None:
        self.ended += len(sent)


def main(words: list[str]) -> int:
    """`align3r batch` in one process, for good."""
    from align3r.cli.main import main as real

    runner.connected = OneProcess().connected  # type: ignore[assignment]
    return real(words)
