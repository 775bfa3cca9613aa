"""Published weights in torch's cache: downloaded once, whole or not at all, and checked."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import torch

from align3r.errors import WeightsError
from align3r.flow.hub_file import HubFile, read_weights


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; the checkpoints lie in hub/checkpoints."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return tmp_path / "torch" / "hub" / "checkpoints"


def save(weights: Any, folder: Path, stem: str = "raft") -> Path:
    """Saved as the hub names files: with the first digits of their SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights, folder / "new")
    digest = hashlib.sha256((folder / "new").read_bytes()).hexdigest()
    return (folder / "new").rename(folder / f"{stem}-{digest[:8]}.pth")


def published(path: Path) -> HubFile:
    return HubFile(path.as_uri(), "RAFT's weights", "BSD-3-Clause, 21 MB")


def test_weights_are_downloaded_once_and_their_terms_are_said_before(
    tmp_path: Path, torch_home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="align3r")
    origin = save({"a": torch.ones(3)}, tmp_path)
    place = published(origin).find()
    assert place == torch_home / origin.name
    assert "BSD-3-Clause, 21 MB" in caplog.text and str(place) in caplog.text
    caplog.clear()
    origin.unlink()
    assert published(origin).find() == place and not caplog.text
    assert read_weights(place)["a"].tolist() == [1, 1, 1]


def test_offline_the_way_out_names_the_file_and_the_place(
    tmp_path: Path, torch_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    origin = save({"a": torch.ones(3)}, tmp_path)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE") as caught:
        published(origin).find()
    assert caught.value.exit_code == 6
    assert origin.as_uri() in caught.value.hint and str(torch_home) in caught.value.hint
    assert not torch_home.exists()
    torch_home.mkdir(parents=True)
    (torch_home / origin.name).write_bytes(origin.read_bytes())
    assert published(origin).find().parent == torch_home


def cut_short(origin: Path) -> None:
    origin.write_bytes(origin.read_bytes()[:-20])


@pytest.mark.parametrize("harm", [Path.unlink, cut_short])
def test_a_failed_download_leaves_nothing(tmp_path: Path, torch_home: Path, harm: Any) -> None:
    origin = save({"a": torch.ones(3)}, tmp_path)
    harm(origin)
    with pytest.raises(WeightsError, match="cannot be downloaded") as caught:
        published(origin).find()
    assert str(torch_home / origin.name) in caught.value.hint
    assert list(torch_home.iterdir()) == []


def test_an_interrupted_download_leaves_nothing(
    tmp_path: Path, torch_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = save({"a": torch.ones(3)}, tmp_path)
    real = torch.hub.urlopen

    def interrupted(*args: Any) -> Any:
        opened, first = real(*args), True
        read = opened.read

        def read_once(count: int) -> bytes:
            nonlocal first
            if not first:
                assert [p.name.startswith(origin.name + ".") for p in torch_home.iterdir()]
                raise KeyboardInterrupt
            first = False
            return bytes(read(count))

        opened.read = read_once
        return opened

    monkeypatch.setattr(torch.hub, "urlopen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        published(origin).find()
    assert list(torch_home.iterdir()) == []


def test_a_place_that_cannot_be_written_is_said(tmp_path: Path, torch_home: Path) -> None:
    origin = save({"a": torch.ones(3)}, tmp_path)
    torch_home.parent.mkdir(parents=True)
    torch_home.write_text("in the way")
    with pytest.raises(WeightsError, match="cannot be downloaded"):
        published(origin).find()


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path = save({"a": torch.ones(300)}, tmp_path)
    assert set(read_weights(path)) == {"a"}
    cut_short(path)
    with pytest.raises(WeightsError, match="cut short") as caught:
        read_weights(path)
    assert str(path) in str(caught.value) and path.stem[-8:] in str(caught.value)


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("unpickled",)


@pytest.mark.parametrize("content", [b"", b"no weights", [1, 2], Harmful()])
def test_what_holds_no_weights_is_refused(
    tmp_path: Path, content: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=r"mine\.pth holds no weights"):
        read_weights(path)
    assert "unpickled" not in capsys.readouterr().out
