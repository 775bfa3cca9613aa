"""A batch without Ray: what is skipped, what is begun again, what is told; one process."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from batch_without_ray import OneProcess
from conftest import Calls

import align3r
from align3r.batch import book, runner, worker
from align3r.batch.runner import BatchOptions, plan_many, reconstruct_many
from align3r.batch.values import Outcome, Task
from align3r.cli.main import main
from align3r.cluster import Died
from align3r.config import AlignOptions, Options, OutputOptions
from align3r.errors import InputError, NoRoomError, SolveError, UsageError

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> OneProcess:
    found = OneProcess()

    monkeypatch.setattr(runner, "connected", found.connected)
    monkeypatch.setattr(worker, "limit_threads", lambda count: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # What the worker writes is undone with it.
    return found


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    """Three files; the pipeline of these tests does not look into them."""
    place = tmp_path / "videos"
    place.mkdir()
    for name in "abc":
        (place / f"{name}.mp4").write_bytes(name.encode())
    return sorted(place.iterdir())


def states(outcomes: list[Outcome]) -> list[tuple[str, bool, int]]:
    return [(o.state, o.skipped, o.exit_code) for o in outcomes]


def manifest(out: Path) -> dict[str, Any]:
    return {
        Path(source).stem: row
        for source, row in json.loads((out / "batch.json").read_text())["videos"].items()
    }


def begun(out: Path) -> dict[str, int]:
    return {
        log.stem: log.read_text().count(f" {worker.BEGINS} on ") for log in out.glob("logs/*.log")
    }


def test_a_second_call_does_what_is_left(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess
) -> None:
    out = tmp_path / "outs"
    first = reconstruct_many(videos[:2], out)
    assert states(first) == [("done", False, 0)] * 2
    assert [len(align3r.load(outcome.out)) for outcome in first] == [3, 3]
    assert (first[0].frames, first[0].seconds, first[0].warnings) == (3, 3.75, 1)
    ticks: list[tuple[str, int, int]] = []
    second = reconstruct_many(videos, out, progress=lambda *tick: ticks.append(tick))
    assert states(second) == [("done", True, 0), ("done", True, 0), ("done", False, 0)]
    assert ticks == [("videos", 2, 3), ("videos", 3, 3)]
    assert begun(out) == {"a": 1, "b": 1, "c": 1}
    # Nothing is left to do: Ray is not even started.
    cluster.answer_to = None  # type: ignore[assignment]
    assert states(reconstruct_many(videos, out)) == [("done", True, 0)] * 3
    assert not (tmp_path / ".outs.lock").exists()


def test_other_options_and_other_videos_are_not_done(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess
) -> None:
    out = tmp_path / "outs"
    reconstruct_many(videos, out)
    before = align3r.load(out / "a").depth(0)
    scale = AlignOptions(geometry="scale")
    refused = reconstruct_many(videos[:1], out, options=Options(align=scale))
    assert states(refused) == [("failed", False, 2)] and "--overwrite" in refused[0].hint
    assert manifest(out)["a"]["state"] == "done", "what stands there is still done"
    assert states(reconstruct_many(videos[:1], out)) == [("done", True, 0)]
    overwrite = OutputOptions(overwrite=True)
    replaced = reconstruct_many(videos[:1], out, options=Options(align=scale, output=overwrite))
    assert states(replaced) == [("done", False, 0)]
    assert (align3r.load(out / "a").depth(0) != before).any()
    again = reconstruct_many(videos[:1], out, options=Options(align=scale, output=overwrite))
    assert states(again) == [("done", True, 0)], "what is as asked for is not done twice"
    videos[1].write_bytes(b"another video")
    assert states(reconstruct_many(videos, out)) == [
        ("failed", False, 2),
        ("failed", False, 2),
        ("done", True, 0),
    ]


def test_whoever_waits_dies_before_the_manifest_tells(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess
) -> None:
    out = tmp_path / "outs"
    compute = cluster.answer_to

    def killed(task: Task) -> Outcome | Died:
        compute(task)
        raise KeyboardInterrupt

    cluster.answer_to = killed
    with pytest.raises(KeyboardInterrupt):
        reconstruct_many(videos, out)
    assert cluster.ended == 2, "those that nobody waits for any more"
    assert {name: row["state"] for name, row in manifest(out).items()} == dict.fromkeys(
        "abc", "todo"
    )
    cluster.answer_to = compute
    assert states(reconstruct_many(videos, out)) == [
        ("done", True, 0),
        ("done", False, 0),
        ("done", False, 0),
    ]
    assert begun(out) == {"a": 1, "b": 1, "c": 1}


def test_a_replacement_that_was_interrupted_is_not_taken_for_done(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess
) -> None:
    out, compute = tmp_path / "outs", cluster.answer_to
    reconstruct_many(videos, out)
    options = Options(seed=1, output=OutputOptions(overwrite=True))

    def killed(task: Task) -> Outcome | Died:
        raise KeyboardInterrupt

    cluster.answer_to = killed
    with pytest.raises(KeyboardInterrupt):
        reconstruct_many(videos[:1], out, options=options)
    cluster.answer_to = compute
    assert states(reconstruct_many(videos[:1], out, options=options)) == [("done", False, 0)]
    assert json.loads((out / "a" / "scene.json").read_text())["options"]["seed"] == 1


def test_a_worker_that_dies_is_begun_again(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess
) -> None:
    compute = cluster.answer_to

    def dies(task: Task) -> Outcome | Died:
        if task.source.stem == "b":
            return Died("the worker died", 1)
        if task.source.stem == "a" and task.attempt == 1:
            compute(task)  # It ended after the result was there, before it could say so.
            return Died("the worker died", 1)
        return compute(task)

    cluster.answer_to = dies
    outcomes = reconstruct_many(videos, tmp_path / "outs", batch=BatchOptions(retries=2))
    assert states(outcomes) == [("done", False, 0), ("failed", False, 1), ("done", False, 0)]
    assert [outcome.attempts for outcome in outcomes] == [2, 3, 1]
    assert outcomes[1].error == "the worker died, 3 times"
    assert len(pipeline.sources) == 2, "a was not computed a second time"
    row = manifest(tmp_path / "outs")["b"]
    assert (row["state"], row["attempts"], row["error"]) == ("failed", 3, outcomes[1].error)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (SolveError("nothing to see", hint="look elsewhere"), 5, "nothing to see"),
        (NoRoomError("too large"), 4, "too large"),
        (MemoryError(), 4, "the memory is not enough"),
        (PermissionError(13, "Permission denied", "/x"), 3, "/x: permission denied"),
        (KeyError("surprise"), 1, "KeyError: 'surprise'"),
    ],
)
def test_one_failure_stops_no_other(
    videos: list[Path],
    tmp_path: Path,
    pipeline: Calls,
    cluster: OneProcess,
    capsys: Captured,
    error: Exception,
    code: int,
    says: str,
) -> None:
    out = tmp_path / "outs"
    pipeline.error, pipeline.fail_at = error, 2
    assert main(["batch", *map(str, videos), "-o", str(out)]) == 7
    shown = capsys.readouterr().out
    assert says in shown and "2 done, 0 done before, 1 failed" in shown
    row = manifest(out)["c"]
    assert (row["state"], row["exit_code"]) == ("failed", code) and says in row["error"]
    assert type(error).__name__ in (out / "logs" / "c.log").read_text()
    # What failed is tried again.
    pipeline.error = None
    assert main(["batch", *map(str, videos), "-o", str(out)]) == 0
    assert "1 done, 2 done before, 0 failed" in capsys.readouterr().out


def test_quiet_tells_failures_alone(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess, capsys: Captured
) -> None:
    words = ["batch", *map(str, videos), "-o", str(tmp_path / "outs"), "-q"]
    pipeline.error, pipeline.fail_at = SolveError("nothing to see", hint="look"), 2
    assert main(words) == 7
    first, hint = capsys.readouterr().out.split("\n", 1)[1].splitlines()
    assert first.endswith("c.mp4: nothing to see") and hint == "  hint: look"
    pipeline.error = None
    assert main(words) == 0
    assert capsys.readouterr().out == ""


def test_options_pass_through_and_the_machine_is_shared(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess
) -> None:
    words = ["--model", "geometric", "--size", "128", "--align.solver", "adam", "--cpus", "3"]
    assert main(["batch", *map(str, videos), "-o", str(tmp_path / "outs"), *words]) == 0
    assert {(o.model, o.input.size, o.align.solver) for o in pipeline.options} == {
        ("geometric", 128, "adam")
    }
    assert cluster.asked == [(3, 0.0)]
    assert pipeline.options[0].memory_budget is None, "it has the whole machine"


@pytest.mark.parametrize(("budget", "expected"), [(None, True), (2.5, False)])
def test_a_part_of_the_machine_has_a_part_of_its_memory(
    videos: list[Path],
    tmp_path: Path,
    pipeline: Calls,
    cluster: OneProcess,
    budget: float | None,
    expected: bool,
) -> None:
    from align3r.device import machine_memory_bytes

    cluster.answer_to = lambda task: worker.reconstruct_one(task, threads=1, share=0.5)
    reconstruct_many(videos[:1], tmp_path / "outs", options=Options(memory_budget=budget))
    own = round(0.45 * machine_memory_bytes() / 1e9, 3)
    assert pipeline.options[0].memory_budget == (own if expected else budget)
    again = reconstruct_many(videos[:1], tmp_path / "outs", options=Options(memory_budget=budget))
    assert states(again) == [("done", True, 0)]


def test_another_version_on_a_machine_of_the_cluster(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess, monkeypatch: Any
) -> None:
    monkeypatch.setattr(book, "__version__", "9.9.9")
    (outcome,) = reconstruct_many(videos[:1], tmp_path / "outs")
    assert outcome.exit_code == 2 and "not 9.9.9" in outcome.error


def test_a_video_that_cannot_be_read_needs_no_worker(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess
) -> None:
    videos[0].write_bytes(b"")
    gone = tmp_path / "videos" / "gone.mp4"
    outcomes = reconstruct_many([*videos, gone], tmp_path / "outs")
    assert [o.exit_code for o in outcomes] == [3, 0, 0, 3]
    assert [task.source.stem for task in cluster.sent] == ["b", "c"]


def test_a_result_that_somebody_damaged(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess
) -> None:
    out = tmp_path / "outs"
    reconstruct_many(videos[:1], out)
    (out / "a" / "scene.json").write_text("{")
    (outcome,) = reconstruct_many(videos[:1], out)
    assert (outcome.state, outcome.exit_code) == ("failed", 3) and "damaged" in outcome.error


def test_dry_run_writes_nothing(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess, capsys: Captured
) -> None:
    out = tmp_path / "outs"
    assert main(["batch", *map(str, videos), "-o", str(out), "--dry-run"]) == 0
    assert capsys.readouterr().out.count(" todo ") == 3 and not out.exists()
    reconstruct_many(videos[:1], out)
    before = (out / "batch.json").read_bytes()
    assert [o.state for o in plan_many(videos, out)] == ["done", "todo", "todo"]
    assert (out / "batch.json").read_bytes() == before


def test_places_that_a_batch_refuses(
    videos: list[Path], tmp_path: Path, pipeline: Calls, cluster: OneProcess, result: Path
) -> None:
    with pytest.raises(UsageError, match="is the result of one video"):
        reconstruct_many(videos, result)
    with pytest.raises(UsageError, match="not a folder"):
        reconstruct_many(videos, videos[0])
    out = tmp_path / "outs"
    out.mkdir()
    (out / "batch.json").write_text("{}")
    with pytest.raises(InputError, match=r"batch\.json is not the manifest"):
        reconstruct_many(videos, out)
    assert (out / "batch.json").read_text() == "{}"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--cpus", "0"], "--cpus is 0"),
        (["--gpus", "-1"], "--gpus is -1"),
        (["--retries", "-1"], "--retries is -1"),
        ([], "no input is given"),
    ],
)
def test_arguments_that_make_no_sense(words: list[str], says: str, capsys: Captured) -> None:
    assert main(["batch", *(["x.mp4"] if words else []), *words]) == 2
    assert says in capsys.readouterr().err


def test_without_ray(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert main(["batch", *map(str, videos), "-o", str(tmp_path / "outs")]) == 2
    assert "pip install 'align3r[batch]'" in capsys.readouterr().err
