"""Work that is done now and then is done in the block, and only there."""

from __future__ import annotations

import threading

import pytest

from align3r.meanwhile import now_and_then

PATIENCE_S = 60.0


def test_work_goes_on_until_the_block_ends() -> None:
    calls, twice = list[int](), threading.Event()

    def work() -> None:
        calls.append(threading.get_ident())
        if len(calls) >= 2:
            twice.set()

    with now_and_then(work, every_s=0.001):
        assert twice.wait(PATIENCE_S)
    count = len(calls)
    assert set(calls).isdisjoint({threading.get_ident()}), "it is done beside the block"
    assert not threading.Event().wait(0.05) and len(calls) == count


def test_the_end_waits_for_a_call_that_is_under_way() -> None:
    begun, may_end, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert may_end.wait(PATIENCE_S)
        ended.set()

    with now_and_then(work, every_s=0.001):
        assert begun.wait(PATIENCE_S)
        threading.Timer(0.05, may_end.set).start()
    assert ended.is_set()


def test_an_error_of_the_block_passes_and_the_work_is_over() -> None:
    calls = list[None]()
    with pytest.raises(KeyError), now_and_then(lambda: calls.append(None), every_s=0.001):
        raise KeyError
    count = len(calls)
    assert not threading.Event().wait(0.02) and len(calls) == count
