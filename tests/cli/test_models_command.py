"""`align3r models` as a person uses it, in processes of its own, against a hub on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_hub import COMMIT, FakeHub, serve
from networks import KINDS, config_of, public_state, write_folder

from align3r.models.catalogue import CATALOGUE

DUST3R = CATALOGUE["dust3r"].repo


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[FakeHub]:
    """A hub with a tiny network under the name of DUSt3R."""
    kind = KINDS["dust3r"]
    folder = write_folder(tmp_path / "made", public_state(kind), config_of(kind))
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    with serve(FakeHub(repositories={DUST3R: files})) as fake:
        yield fake


@pytest.fixture
def environment(hub: FakeHub, tmp_path: Path) -> dict[str, str]:
    """What points a new process to this hub and to an empty cache."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    return {
        **kept,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "home"),
        "NO_PROXY": "127.0.0.1",
        "PYTHONUNBUFFERED": "1",
    }


def align3r(
    environment: dict[str, str], *words: str, **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "align3r", "models", *words],
        env=environment | more,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def line_of(name: str, shown: str) -> str:
    return next(line for line in shown.splitlines() if line.startswith(f"{name} "))


def test_from_the_list_to_verified_weights(
    hub: FakeHub, environment: dict[str, str], tmp_path: Path
) -> None:
    listed = align3r(environment)
    assert listed.returncode == 0
    for name, known in CATALOGUE.items():
        line = line_of(name, listed.stdout)
        assert known.purpose in line and known.licence in line and line.endswith(" no")
    assert f"kept in {tmp_path / 'home' / 'hub'}" in listed.stdout
    assert "571.2 M     2.28 GB" in line_of("dust3r", listed.stdout)

    fetched = align3r(environment, "download", "dust3r")
    assert fetched.returncode == 0, fetched.stderr
    first, place, pin = fetched.stdout.splitlines()
    assert "downloading" in first and "CC BY-NC-SA 4.0, non-commercial" in first
    assert place.startswith(f"dust3r: {tmp_path / 'home'}") and place.endswith(COMMIT)
    assert pin.endswith(f"{DUST3R}@{COMMIT}")

    hub.requests.clear()
    assert line_of("dust3r", align3r(environment, "list").stdout).endswith(f"{COMMIT[:12]}")
    again = align3r(environment, "download", "dust3r", HF_HUB_OFFLINE="1")
    assert again.stdout.splitlines() == [place, pin]
    for names in ([], [place.partition(": ")[2]]):
        checked = align3r(environment, "verify", *names)
        assert checked.returncode == 0
        assert "tensors make a DUSt3R network; the content is the published one" in checked.stdout
    assert hub.requests == []


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_download_is_made_good_by_the_next(
    stop: signal.Signals, hub: FakeHub, environment: dict[str, str], tmp_path: Path
) -> None:
    hub.stall = "files"
    running = subprocess.Popen(
        [sys.executable, "-m", "align3r", "models", "download", "dust3r"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert hub.stalled.wait(30), "the download did not begin"
    running.send_signal(stop)
    _, shown = running.communicate(timeout=30)  # the server would keep it waiting for a minute
    if stop is signal.SIGINT:
        assert running.returncode == 130 and "interrupted" in shown and "Traceback" not in shown
    assert line_of("dust3r", align3r(environment).stdout).endswith(" no")
    verified = align3r(environment, "verify", "dust3r")
    assert (verified.returncode, verified.stdout) == (6, "")
    assert "error: dust3r is not on this machine" in verified.stderr
    hub.stall = ""
    assert align3r(environment, "download", "dust3r", "-q").returncode == 0
    assert not line_of("dust3r", align3r(environment).stdout).endswith(" no")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE forbids to download it"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "could not be downloaded: "),
    ],
)
def test_what_cannot_be_had_is_6(
    more: dict[str, str], words: str, environment: dict[str, str]
) -> None:
    done = align3r(environment, "download", "monst3r", **more)
    assert done.returncode == 6
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: Junyi42/MonST3R") and words in error
    assert "`align3r models download monst3r`" in hint and "--weights" in hint


def test_what_is_damaged_is_6_and_named(environment: dict[str, str], tmp_path: Path) -> None:
    place = align3r(environment, "download", "dust3r").stdout.splitlines()[1]
    folder = Path(place.removeprefix("dust3r: "))
    (tmp_path / "page.pth").write_text("<html>sign in</html>")
    whole = (folder / "model.safetensors").read_bytes()
    changed = whole[:-1] + bytes([whole[-1] ^ 1])
    (folder / "model.safetensors").resolve().write_bytes(changed)
    done = align3r(
        environment, "verify", "dust3r", str(tmp_path / "page.pth"), str(tmp_path / "made")
    )
    assert done.returncode == 6
    assert "model.safetensors does not have the content that was published" in done.stderr
    assert "page.pth is a web page of 20 bytes" in done.stderr
    assert "error: 2 of 3 not in order: dust3r, " in done.stderr
    assert done.stdout.count(": ok, ") == 1


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["download"], 2, "no name is given"),
        (["remove", "dust3r"], 2, "remove"),
        (["download", "dusr3r"], 6, "did you mean dust3r?"),
        (["verify"], 0, "nothing is here yet"),
    ],
)
def test_words(words: list[str], code: int, says: str, environment: dict[str, str]) -> None:
    done = align3r(environment, *words)
    assert done.returncode == code
    assert says in done.stdout + done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["models", "--help"], ["models"], ["models", "verify"]])
def test_no_torch_until_it_is_needed(words: list[str], environment: dict[str, str]) -> None:
    script = (
        "import sys\nfrom align3r.cli.main import main\n"
        f"code = main({words!r})\nsys.exit(code or ('torch' in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
