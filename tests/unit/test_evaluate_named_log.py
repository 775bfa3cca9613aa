"""Whoever measures several sequences hears which one a warning is about."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from mini_sets import SETS, measured

from align3r.config import Options
from align3r.evaluate import one_sequence
from align3r.evaluate.named_log import kept_warnings, log_of
from align3r.evaluate.one_sequence import Job
from align3r.evaluate.protocol_table import PROTOCOLS
from align3r.evaluate.running import evaluate
from align3r.evaluate.tasks import pose
from align3r.evaluate.workers import Workers
from align3r.reconstruction import Reconstruction

LOG = logging.getLogger("align3r.pipeline")


def test_lines_of_the_library_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    with kept_warnings() as kept, log_of("alley_2"):
        LOG.warning("%d frames, 100 %% blank", 3)
        logging.getLogger("align3rs.cousin").warning("of somebody else")
    LOG.warning("after it")
    assert caplog.messages == ["alley_2: 3 frames, 100 % blank", "of somebody else", "after it"]
    assert kept == ["alley_2: 3 frames, 100 % blank"]


def test_remarks_are_not_kept_for_others() -> None:
    with kept_warnings() as kept:
        LOG.info("a plan")
        LOG.error("a mistake")
    assert kept == ["a mistake"]


def test_the_name_goes_with_an_error() -> None:
    handler = logging.NullHandler()
    logging.getLogger("align3r").addHandler(handler)
    try:
        with pytest.raises(KeyError), log_of("alley_2"):
            assert len(handler.filters) == 1
            raise KeyError
        assert handler.filters == []
    finally:
        logging.getLogger("align3r").removeHandler(handler)


def fails(*_: object) -> Reconstruction:
    LOG.warning("nothing overlaps")
    raise ZeroDivisionError("1/0")


def test_what_a_sequence_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pose, "reconstruct_sequence", fails)
    entry = measured("align3r/pose/sintel", "alley_2", tmp_path, SETS / "sintel")
    assert entry["state"] == "failed" and "told" not in entry
    assert caplog.messages == ["alley_2: nothing overlaps"]
    # A process of its own keeps it for the one who waits.
    monkeypatch.setattr(one_sequence, "limit_threads", lambda threads: None)
    job = Job("align3r/pose/sintel", SETS / "sintel", "alley_2", Options(), tmp_path)
    with monkeypatch.context() as kept:
        kept.setenv("OMP_NUM_THREADS", "1")
        found = one_sequence.measure_one(job, threads=1, share=1.0)
    assert found["told"] == ["alley_2: nothing overlaps"]


def test_processes_hand_on_what_they_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    evaluate(
        PROTOCOLS["align3r/depth/sintel"],
        SETS / "sintel",
        tmp_path / "out",
        options=Options(model="geometric"),
        sequences=["bandage_1"],
        workers=Workers(jobs=2),
    )
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert [words[:35] for words in told] == ["bandage_1: the camera only turns (0"]
