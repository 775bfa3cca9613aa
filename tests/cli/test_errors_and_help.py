"""Help without weight, every exit code, and the words that go with it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from align3r import errors
from align3r.cli.main import COMMANDS, main
from align3r.io.sources import resolve_source

Captured = pytest.CaptureFixture[str]


def test_help_names_every_command(capsys: Captured) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: Captured) -> None:
    assert main([name, "--help"]) == 0
    assert f"align3r {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["reconstruct", "--help"], ["view", "--help"]])
def test_help_imports_no_torch(words: list[str]) -> None:
    script = (
        "import sys\nfrom align3r.cli.main import main\n"
        f"code = main({words!r})\nsys.exit(code or ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("reconstruct none.mp4", 3),
        ("reconstruct none.mp4 --dry-run", 3),
        ("reconstruct a.mp4 -o file", 2),
        ("reconstruct a.mp4 -o file --dry-run", 2),
        ("reconstruct a.mp4 --stride 0", 2),
        ("reconstruct a.mp4 --poses none", 3),
        ("reconstruct a.mp4 --masks none", 3),
        ("reconstruct a.mp4 --prior-dir none", 3),
        ("reconstruct a.mp4 --prior-dir .", 3),
        ("reconstruct a.mp4 --camera.lens fisheye", 2),
        ("compare none.mp4", 3),
        ("compare a.mp4 -o file", 2),
        ("compare a.mp4 --truth none.npz", 3),
        ("batch a.mp4 -o file", 2),
        ("export none --to ply", 3),
        ("view none", 3),
    ],
)
def test_what_can_be_refused_at_once_needs_no_torch(words: str, code: int, tmp_path: Path) -> None:
    for name in ("a.mp4", "file"):
        (tmp_path / name).write_text("something")
    script = (
        "import sys\nfrom align3r.cli.main import main\n"
        f"code = main({words.split()!r})\nprint(code, 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, cwd=tmp_path, text=True
    )
    assert done.stdout.splitlines()[-1] == f"{code} False", done.stderr
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
    assert {path.name for path in tmp_path.iterdir()} == {"a.mp4", "file"}


@pytest.mark.parametrize("command", ["reconstruct", "compare", "batch"])
@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["https://example.org/watch?v=abc"], "download it first, such as with yt-dlp"),
        (["http://example.org/a.mp4"], "download it first, such as with yt-dlp"),
        (["HTTPS://example.org/a.png", "b.png"], "download it first, such as with yt-dlp"),
        (["https://example.org/" + 300 * "a"], "download it first, such as with yt-dlp"),
        (["file:///tmp/a.mp4"], "give the path of the file"),
    ],
)
def test_an_address_is_to_be_downloaded_first(
    command: str, words: list[str], hint: str, capsys: Captured
) -> None:
    assert main([command, *words]) == 3
    error, told = capsys.readouterr().err.splitlines()
    assert "is an address, and only files are read" in error
    assert told == f"hint: {hint}"


def test_a_file_whose_name_looks_like_an_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd:").mkdir()
    (tmp_path / "odd:" / "a.mp4").write_bytes(b"something")
    assert resolve_source("odd:/a.mp4").is_video
    with pytest.raises(errors.InputError, match="no such file"):
        resolve_source("c:/none.mp4")  # a drive of Windows


def test_help_is_there_at_once() -> None:
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "align3r", "--help"], capture_output=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert min(seconds) < 1.0


def test_version(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("align3r ")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "usage"),
        (["recon", "a.mp4"], "did you mean `align3r reconstruct`?"),
        (["fly"], "there is no command 'fly'"),
        (["reconstruct"], "no input is given"),
        (["reconstruct", "a.mp4", "--bogus"], "--bogus"),
        (["reconstruct", "a.mp4", "--input.stride", "two"], "stride"),
        (["export", "x"], "--to"),
        (["export", "x", "--to", "fbx"], "fbx"),
        (["export", "x", "--to"], "--to colmap nerfstudio ply"),
        (["reconstruct", "a.mp4", "-o", ""], "the name of the output folder is empty"),
        (["batch", "a.mp4", "-o", ""], "the name of the output folder is empty"),
        (["batch", "a.mp4", "-o", "", "--dry-run"], "the name of the output folder is empty"),
    ],
)
def test_wrong_use_is_2(words: list[str], says: str, capsys: Captured) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert says in shown.out + shown.err
    assert "Traceback" not in shown.err


HELP = "see `align3r reconstruct --help`"


@pytest.mark.parametrize(("width", "encoding"), [("80", "utf-8"), ("80", "ascii"), ("40", "utf-8")])
@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ("--bogus 3", "there is no option --bogus", HELP),
        ("-x", "there is no option -x", HELP),
        ("--flo raft", "there is no option --flo", "did you mean --flow?"),
        ("--align.pixel=3", "there is no option --align.pixel", "did you mean --align.pixels?"),
        ("--max_point 3", "there is no option --max_point", "did you mean --output.max-points?"),
        ("--no-html", "there is no option --no-html", "did you mean --output.no-html?"),
        ("--verbose=3", "--verbose takes no value", "give --verbose by itself"),
        ("--stride", "--input.stride lacks its value", HELP),
        ("-o", "--out lacks its value", HELP),
        ("--stride two", "--input.stride does not take 'two'", f"it takes a whole number; {HELP}"),
        (
            "--distortion 1 x",
            "--camera.distortion does not take '1 x'",
            f"it takes numbers; {HELP}",
        ),
        ("--focal=x", "--camera.focal does not take 'x'", f"it takes a number; {HELP}"),
        (
            "--camera.intrinsics 1 2 3",
            "--camera.intrinsics does not take '1 2 3'",
            f"it takes 4 numbers; {HELP}",
        ),
        (
            "--align.geometry flat",
            "--align.geometry does not take 'flat'",
            "use one of depth, scale, scale-grid",
        ),
    ],
)
def test_words_that_cannot_be_parsed_get_two_lines(
    words: str,
    error: str,
    hint: str,
    width: str,
    encoding: str,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    # The parser draws its boxes with lines where the terminal has them.
    monkeypatch.setattr(type(sys.stdout), "encoding", encoding)
    assert main(["reconstruct", "a.mp4", *words.split()]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [f"error: {error}", f"hint: {hint}"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("view", "OUT is missing"),
        ("export x", "--to FORMAT ... is missing"),
        ("export", "OUT, --to FORMAT ... is missing"),
        ("view a b c", "'c' is one word too many"),
        ("models fly", "action does not take 'fly'"),
        ("batch a --gpu 3", "there is no option --gpu"),
    ],
)
def test_commands_that_lack_or_do_not_know_a_word(words: str, error: str, capsys: Captured) -> None:
    assert main(words.split()) == 2
    said, hint = capsys.readouterr().err.splitlines()
    assert said == f"error: {error}"
    assert hint.startswith("hint: ")


def test_help_names_a_switch_by_what_it_does(capsys: Captured) -> None:
    assert main(["reconstruct", "--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("output.html", "output.pictures", "pairs.loops", "motion.enabled"):
        group, _, switch = name.partition(".")
        assert f"--{name}, --{group}.no-{switch}" in shown
    assert "--dry-run\n" in shown.replace(" ", "").replace("│", "")
    assert "--no-dry-run" not in shown


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("a", hint="b"), 2),
        (errors.MissingExtraError("a", hint="b"), 2),
        (errors.InputError("a", hint="b"), 3),
        (errors.NoRoomError("a", hint="b"), 4),
        (errors.SolveError("a", hint="b"), 5),
        (errors.WeightsError("a", hint="b"), 6),
    ],
)
def test_the_family_has_codes_a_sentence_and_a_hint(
    pipeline: Any, capsys: Captured, tmp_path: Path, error: errors.Align3rError, code: int
) -> None:
    pipeline.error = error
    assert main(["reconstruct", "a.mp4", "-o", str(tmp_path / "out")]) == code
    assert capsys.readouterr().err.splitlines()[-2:] == ["error: a", "hint: b"]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), 4, "memory is not enough"),
        (RuntimeError("CUDA out of memory. Tried"), 4, "memory is not enough"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 4, "memory is not enough"),
        (PermissionError(13, "Permission denied", "x/y"), 3, "x/y: permission denied"),
        (OSError(28, "No space left on device"), 3, "error: no space left on device"),
        (ZeroDivisionError("one\ntwo"), 1, "error: ZeroDivisionError: one\nhint: run again with"),
        (KeyboardInterrupt(), 130, "interrupted; run the same command again to resume"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_other_errors(
    pipeline: Any,
    capsys: Captured,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    says: str,
) -> None:
    monkeypatch.setattr("os.dup2", lambda a, b: None)
    monkeypatch.setattr(sys.stdout, "fileno", lambda: 1, raising=False)
    pipeline.error = error
    assert main(["reconstruct", "a.mp4", "-o", str(tmp_path / "out")]) == code
    shown = capsys.readouterr().err
    assert says in shown
    assert "Traceback" not in shown


def test_debug_shows_the_traceback(pipeline: Any, capsys: Captured, tmp_path: Path) -> None:
    pipeline.error = ZeroDivisionError("one")
    assert main(["reconstruct", "a.mp4", "-o", str(tmp_path / "out"), "--debug"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "--debug" not in shown


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m align3r --help | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == b""
