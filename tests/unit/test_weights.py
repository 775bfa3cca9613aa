"""Names become files: from the cache, from a hub that may misbehave, or from this disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_hub import COMMIT, FakeHub, etag, serve
from huggingface_hub import constants
from networks import KINDS, assert_holds, config_of, public_state, write_folder

from align3r.errors import WeightsError
from align3r.models import hub as hub_module
from align3r.models.catalogue import CATALOGUE
from align3r.models.checkpoint import read_checkpoint
from align3r.models.loading import load_pair_network
from align3r.models.verify import verify
from align3r.models.weights import is_available, is_cached, locate


def made(place: Path, kind: str) -> Path:
    """A folder of weights."""
    return write_folder(place / "made" / kind, public_state(KINDS[kind]), config_of(KINDS[kind]))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub with tiny networks under two of the public names, and an empty cache."""
    files = {}
    for name, kind in (("dust3r", "dust3r"), ("align3r-depthpro", "align3r")):
        content = {file.name: file.read_bytes() for file in made(tmp_path, kind).iterdir()}
        files[CATALOGUE[name].repo] = content | {"README.md": b"text", "more.pth": b"pickle"}
    with serve(FakeHub(repositories=files)) as fake:
        use(fake.url, tmp_path / "cache", monkeypatch)
        yield fake


def use(url: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hub's client, which reads its environment once, know another hub and cache."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    # Older clients have a copy there.
    old = "huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE"
    monkeypatch.setattr(old, template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))


def fails(spec: str, **options: Any) -> WeightsError:
    with pytest.raises(WeightsError) as caught:
        locate(spec, **options)
    assert "\n" not in str(caught.value) and caught.value.hint
    assert caught.value.exit_code == 6
    return caught.value


def left_over(cache: Path) -> list[str]:
    """Files in the cache that hold weights, whole or not."""
    blobs = (path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 5000)
    return [path.name for path in blobs]


def test_a_name_is_downloaded_once(hub: FakeHub, tmp_path: Path) -> None:
    told: list[str] = []
    assert not is_cached("dust3r")
    found = locate("dust3r", notify=told.append)
    assert found.name == COMMIT
    assert sorted(path.name for path in found.iterdir()) == ["config.json", "model.safetensors"]
    assert_holds(load_pair_network(found), public_state(KINDS["dust3r"]))
    (line,) = told
    for words in (CATALOGUE["dust3r"].repo, "MB", "CC BY-NC-SA 4.0", "card says cc-by-nc-sa-4.0"):
        assert words in line
    hub.requests.clear()
    hub.commit = "f" * 40  # the branch goes on, what is here stays
    assert is_cached("dust3r") and locate("dust3r", notify=told.append) == found
    assert is_cached(f"dust3r@{COMMIT}") and not is_cached(f"dust3r@{'f' * 40}")
    assert hub.requests == [] and len(told) == 1


def test_a_commit_can_be_asked_for(hub: FakeHub) -> None:
    found = locate(f"{CATALOGUE['dust3r'].repo}@{COMMIT}")
    assert found.name == COMMIT
    assert not is_cached("dust3r")  # nothing has said what the branch is
    assert is_cached(f"dust3r@{COMMIT}")


def test_files_and_folders_are_taken_as_they_are(hub: FakeHub, tmp_path: Path) -> None:
    path = made(tmp_path, "dust3r")
    assert locate(str(path)) == path
    assert locate(str(path / "model.safetensors")) == path / "model.safetensors"
    assert is_cached(str(path)) and hub.requests == []


@pytest.mark.parametrize(
    ("spec", "words", "hint"),
    [
        ("dusr3r", "no file, no folder and no known model", "did you mean dust3r?"),
        ("zzz", "no known model", "known are dust3r, monst3r"),
        ("", "an empty name is no file", "known are"),
        ("./weights/model.pth", "no file", "known are"),
        ("weights/model.pth", "no file", "known are"),
        ("a--b/c", "no file", "known are"),
        ("a/b/c", "no file", "known are"),
        ("dust3r@../../x", "is no revision", "a branch"),
        ("a/b@x y", "is no revision", "a branch"),
    ],
)
def test_names_of_nothing(spec: str, words: str, hint: str, hub: FakeHub) -> None:
    error = fails(spec)
    assert words in str(error) and hint in error.hint
    assert not is_cached(spec) and hub.requests == []


def test_without_a_download(hub: FakeHub) -> None:
    error = fails("align3r-depthpro", download=False)
    assert str(error) == "align3r-depthpro is not on this machine"
    assert "align3r models download align3r-depthpro" in error.hint
    assert "--weights" in error.hint and hub.requests == []
    assert "--prior.weights" in fails("depthpro", download=False).hint


def test_what_could_be_had_is_told_without_a_download(hub: FakeHub, tmp_path: Path) -> None:
    assert is_available("dust3r") and is_available(str(made(tmp_path, "dust3r")))
    assert not is_available("monst3r") and not is_available("no-such-name")
    assert hub.requests and not any("resolve" in request for request in hub.requests)
    hub.refusal = (503, "")
    assert not is_available("dust3r")
    hub.refusal = None
    locate("dust3r")
    hub.refusal = (503, "")
    assert is_available("dust3r")


@pytest.mark.parametrize("how", ["environment", "constant"])
def test_offline_by_the_environment(
    how: str, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = locate("dust3r")
    hub.requests.clear()
    if how == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    else:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert locate("dust3r") == found
    error = fails("align3r-depthpro")
    assert "HF_HUB_OFFLINE forbids" in str(error) and "unset HF_HUB_OFFLINE" in error.hint
    assert hub.requests == []


def test_no_hub_at_all_is_noticed_at_once(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("http://127.0.0.1:9", tmp_path / "cache", monkeypatch)
    error = fails("dust3r")
    assert "could not be downloaded" in str(error) and "Connection refused" in str(error)
    assert "align3r models download dust3r" in error.hint


def test_a_hub_that_does_not_answer_is_given_up(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.stall = "answers"
    monkeypatch.setattr(hub_module, "TIMEOUT_S", 0.3)
    assert "timed out" in str(fails("dust3r"))


@pytest.mark.parametrize(
    ("refusal", "words", "hint"),
    [
        ((403, "GatedRepo"), "is for registered users", "hf auth login"),
        ((404, "RepoNotFound"), "is not on the hub, or not for you", "check the name"),
        ((404, "RevisionNotFound"), "has no revision 'main'", "full commit hash"),
        ((403, ""), "the hub answered 403", "hf auth login"),
        ((401, ""), "the hub answered 401", "hf auth login"),
        ((404, ""), "the hub answered 404", "try again later"),
        ((500, ""), "the hub answered 500", "try again later"),
    ],
)
def test_refusals_in_words(refusal: tuple[int, str], words: str, hint: str, hub: FakeHub) -> None:
    hub.refusal = refusal
    error = fails("dust3r")
    assert words in str(error)
    assert hint in error.hint and "align3r models download dust3r" in error.hint


def test_other_names_on_the_hub(hub: FakeHub) -> None:
    assert "someone/else is not on the hub" in str(fails("someone/else"))
    assert f"has no revision '{'a' * 40}'" in str(fails(f"dust3r@{'a' * 40}"))
    hub.repositories["some/pickles"] = {"model.pth": b"x", "config.json": b"{}"}
    assert str(fails("some/pickles")) == "some/pickles has no model.safetensors"


def test_a_file_that_holds_its_own_config(hub: FakeHub, tmp_path: Path) -> None:
    state = {"backbone.cls_token": torch.ones(2)}
    torch.save({"model_config": {"encoder": "x"}, "model": state}, tmp_path / "saved")
    content = {"model.pt": (tmp_path / "saved").read_bytes(), "README.md": b"text"}
    hub.repositories[CATALOGUE["moge"].repo] = content
    told: list[str] = []
    assert is_available("moge") and not is_cached("moge")
    found = locate("moge", notify=told.append)
    assert [path.name for path in found.iterdir()] == ["model.pt"] and is_cached("moge")
    assert "MIT" in told[0]
    assert read_checkpoint(found).config == {"encoder": "x"}
    with pytest.raises(WeightsError, match="holds no MoGe that is known here"):
        verify(found)
    # Where both are, one is enough.
    both = {**hub.repositories[CATALOGUE["dust3r"].repo], **content}
    hub.repositories["some/both"] = both
    names = sorted(path.name for path in locate("some/both").iterdir())
    assert names == ["config.json", "model.safetensors"]


def test_the_card_counts_where_nothing_else_is_known(hub: FakeHub) -> None:
    told: list[str] = []
    hub.repositories["some/one"] = hub.repositories[CATALOGUE["dust3r"].repo]
    hub.card_licence = None
    locate("some/one", notify=told.append)
    assert told[0].endswith("licence: its card says nothing")


def test_a_full_disk_is_noticed_before(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    told: list[str] = []
    error = fails("dust3r", notify=told.append)
    assert "0 MB are free" in str(error) and "HF_HOME=FOLDER" in error.hint
    assert not told and not any("resolve" in request for request in hub.requests)


@pytest.mark.parametrize(
    ("number", "words"), [(28, "is full"), (122, "is full"), (13, "cannot be written"), (30, "can")]
)
def test_disks_that_refuse(
    number: int, words: str, hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    error = fails("dust3r")
    assert words in str(error) and "HF_HOME=FOLDER" in error.hint


def test_a_download_that_dies_leaves_nothing_that_looks_whole(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)  # between the client's attempts
    hub.dies_at = 8000
    assert "could not be downloaded" in str(fails("dust3r"))
    assert not is_cached("dust3r")
    assert not [name for name in left_over(tmp_path / "cache") if "incomplete" not in name]
    hub.dies_at = None
    assert_holds(load_pair_network(locate("dust3r")), public_state(KINDS["dust3r"]))


def test_a_download_that_was_changed_on_the_way_is_thrown_away(
    hub: FakeHub, tmp_path: Path
) -> None:
    hub.alters = True
    assert "arrived with another content" in str(fails("dust3r"))
    assert not is_cached("dust3r") and left_over(tmp_path / "cache") == []
    hub.alters = False
    assert locate("dust3r")


def test_verified_weights(hub: FakeHub, tmp_path: Path) -> None:
    assert verify(locate("dust3r")) == (
        f"{len(public_state(KINDS['dust3r']))} tensors make a DUSt3R network",
        "the content is the published one",
    )
    path = made(tmp_path, "align3r")
    for place in (path, path / "model.safetensors"):
        assert verify(place)[0].endswith("tensors make an Align3R network")
        assert verify(place)[1] == "no published hash to compare with"


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_one_changed_byte_is_noticed(name: str, hub: FakeHub) -> None:
    found = locate("dust3r")
    blob = (found / name).resolve()
    assert blob.name == etag(name, blob.read_bytes())
    content = bytearray(blob.read_bytes())
    at = content.index(b"RoPE100") + 6 if name == "config.json" else -1
    content[at] = content[at] - 1 if name != "config.json" else ord("1")
    blob.write_bytes(content)
    with pytest.raises(WeightsError, match="not have the content that was published") as caught:
        verify(found)
    assert str(found / name) in str(caught.value) and str(blob) in caught.value.hint


def test_verification_finds_what_loading_finds(hub: FakeHub) -> None:
    found = locate("dust3r")
    blob = (found / "model.safetensors").resolve()
    blob.write_bytes(blob.read_bytes()[:-100])
    with pytest.raises(WeightsError, match="is cut off"):
        verify(found)


@pytest.mark.parametrize(
    ("kind", "words"), [("depth_anything", None), ("bert", "a network of the type 'bert'")]
)
def test_depth_networks_are_told_by_their_type(
    kind: str, words: str | None, tmp_path: Path
) -> None:
    path = write_folder(tmp_path / "w", {"a": torch.ones(2, 3)}, {"model_type": kind})
    if words is None:
        assert verify(path)[0] == "1 tensors of a depth_anything network, 0.0 M numbers"
    else:
        with pytest.raises(WeightsError, match=words):
            verify(path)
