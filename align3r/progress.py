"""How a long call says where it is."""

from __future__ import annotations

from collections.abc import Callable

from tqdm.auto import tqdm

from align3r.types import Progress

Report = Callable[[str, int, int], None]


def as_report(progress: bool | Progress) -> Report:
    """What to call as report(stage, done, total): bars on stderr, the caller's own, or nothing."""
    if progress is True:
        return _Bars()
    if progress is False:
        return lambda stage, done, total: None
    return progress


class _Bars:
    """One bar a stage."""

    def __init__(self) -> None:
        self._bars: dict[str, tqdm] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._bars:
            self._bars[stage] = tqdm(desc=stage, total=total, disable=None)
        bar = self._bars[stage]
        bar.update(done - bar.n)
        if done >= total:
            bar.close()
