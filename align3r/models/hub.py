"""The model hub: what its cache holds, and downloads that are there whole or not at all.

The cache is the standard one (HF_HOME, HF_HUB_CACHE), shared with every other program that uses
huggingface_hub; HF_HUB_OFFLINE and HF_ENDPOINT hold. Nothing here imports torch.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from align3r.errors import WeightsError
from align3r.models.catalogue import Published

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

LAYOUTS = (("config.json", "model.safetensors"), ("model.pt",))
"""Which files are weights together; the config of MoGe's is in the file of the tensors."""
WANTED = ("config.json", "preprocessor_config.json", "model.safetensors", "model.pt")
"""Files of a repository that may be of use here, the largest last; all others stay there."""

TIMEOUT_S = 10.0
"""How long the hub may take to answer, before it counts as out of reach."""

Notify = Callable[[str], None]


def cache_folder() -> Path:
    """Where downloads are kept."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached_snapshot(repo: str, revision: str) -> Path | None:
    """The folder of a repository's files, if the cache has them all; asks nobody."""
    from huggingface_hub import try_to_load_from_cache

    for layout in LAYOUTS:
        found = [try_to_load_from_cache(repo, name, revision=revision) for name in layout]
        if all(isinstance(path, str) for path in found):
            return Path(str(found[0])).parent
    return None


def download(
    repo: str, revision: str, *, notify: Notify, published: Published | None = None
) -> Path:
    """Fetch the files of a repository into the cache.

    Args:
        repo: Owner and repository.
        revision: Branch, tag or commit.
        notify: Is told the size and the licence before the first large byte.
        published: What is known of the repository.

    Returns:
        The folder of the files; its name is the commit.

    Raises:
        WeightsError: The hub is out of reach or refuses, the disk is full, or a file is not what
            the hub says that it is.
    """
    from huggingface_hub import hf_hub_download

    names, announcement = plan_download(repo, revision, published=published)
    notify(announcement)
    with _client_errors_in_words(repo, revision):
        # The first file settles what the revision is; the others are taken from that commit. One
        # after the other: threads would go on after an interrupt.
        folder = Path(hf_hub_download(repo, names[0], revision=revision)).parent
        for name in names[1:]:
            hf_hub_download(repo, name, revision=folder.name)
    for name in names:
        _refuse_altered(folder / name)
    return folder


def plan_download(
    repo: str, revision: str, *, published: Published | None = None
) -> tuple[Sequence[str], str]:
    """Ask the hub whether a download would come about, without downloading anything.

    Args:
        repo: Owner and repository.
        revision: Branch, tag or commit.
        published: What is known of the repository.

    Returns:
        Names of the files, and a line about size and licence.

    Raises:
        WeightsError: The hub is out of reach or refuses, or the disk has no room.
    """
    _refuse_offline(repo)
    with _client_errors_in_words(repo, revision):
        info = _ask(repo, revision)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    names = _files_of(sizes, repo)
    need = sum(sizes[name] for name in names) or (published.size_bytes if published else 0)
    _check_disk(need, repo)
    licence = _licence(info, published)
    where = f"from {repo} to {cache_folder()}"
    return names, f"downloading {gigabytes(need)} {where}; licence: {licence}"


def _refuse_offline(repo: str) -> None:
    """Say that a download is needed and that the environment forbids it.

    Raises:
        WeightsError: HF_HUB_OFFLINE is set.
    """
    from huggingface_hub import constants

    # The library reads the variable once, when it is imported.
    now = os.environ.get("HF_HUB_OFFLINE", "").upper() in constants.ENV_VARS_TRUE_VALUES
    if now or constants.HF_HUB_OFFLINE:
        raise WeightsError(
            f"{repo} is not in {cache_folder()}, and HF_HUB_OFFLINE forbids to download it",
            hint="unset HF_HUB_OFFLINE",
        )


def has_right_hash(path: Path) -> bool | None:
    """Whether a file of the cache has the content that its name in the cache promises.

    The cache keeps content under its hash: SHA-256 for large files, git's SHA-1 for small ones.

    Returns:
        None if the file is no link into a cache, so that nothing is promised.
    """
    if not path.is_symlink():
        return None
    # The first link only: what it points at may itself be a link to a store with other names.
    promised = path.readlink().name
    if re.fullmatch(r"[0-9a-f]{64}", promised):
        return _digest(hashlib.sha256(), path) == promised
    if re.fullmatch(r"[0-9a-f]{40}", promised):
        header = f"blob {path.stat().st_size}\0".encode()
        return _digest(hashlib.sha1(header, usedforsecurity=False), path) == promised
    return None


def _digest(hasher: hashlib._Hash, path: Path) -> str:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


def _refuse_altered(path: Path) -> None:
    """The hub's client checks the size of what it got; a proxy can change more than that."""
    if has_right_hash(path) is False:
        path.resolve().unlink()
        path.unlink()
        raise WeightsError(
            f"{path.name} arrived with another content than the hub has, and was removed",
            hint="try again; if it stays so, something between here and the hub alters files",
        )


def _ask(repo: str, revision: str) -> ModelInfo:
    from huggingface_hub import HfApi

    # Asked first, as this is the one request that has a time limit and is not repeated.
    return HfApi().model_info(repo, revision=revision, files_metadata=True, timeout=TIMEOUT_S)


def _files_of(there: Collection[str], repo: str) -> list[str]:
    """Those of a repository's files that are to be had here, the largest last.

    Raises:
        WeightsError: No layout is there as a whole.
    """
    whole = [layout for layout in LAYOUTS if all(name in there for name in layout)]
    if not whole:
        missing = [name for name in LAYOUTS[0] if name not in there]
        raise WeightsError(
            f"{repo} has no {' and no '.join(missing)}",
            hint="name a repository, folder or file with weights in safetensors format",
        )
    others = {name for layout in LAYOUTS for name in layout if name not in whole[0]}
    return [name for name in WANTED if name in there and name not in others]


def _check_disk(need: int, repo: str) -> None:
    cache = cache_folder()
    place = next(folder for folder in (cache, *cache.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(place).free
    if free < need:
        raise WeightsError(
            f"{repo} takes {gigabytes(need)}, and {gigabytes(free)} are free in {place}",
            hint="make room, or put the cache elsewhere: HF_HOME=FOLDER align3r ...",
        )


def _licence(info: ModelInfo, published: Published | None) -> str:
    """What is known of the licence, and what the repository's card says now."""
    card = getattr(info.card_data, "license", None)
    says = f"its card says {card}" if card else "its card says nothing"
    return f"{published.licence}; {says}" if published else says


def gigabytes(size: int) -> str:
    """ "2.28 GB" or "99 MB"."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


@contextmanager
def _client_errors_in_words(repo: str, revision: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # the client's own errors share no root across its versions
        raise _in_words(error, repo, revision) from error


def _in_words(error: Exception, repo: str, revision: str) -> WeightsError:
    """What stopped a download, and the way out of it."""
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return WeightsError(
            f"{repo} is for registered users",
            hint="accept its terms on its page on the hub, then log in: hf auth login",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return WeightsError(
            f"{repo} has no revision {revision!r}", hint="a branch, a tag or a full commit hash"
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return WeightsError(
            f"{repo} is not on the hub, or not for you",
            hint="check the name; for a private repository log in: hf auth login",
        )
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        return WeightsError(
            f"the hub answered {status} when asked for {repo}",
            hint="log in: hf auth login" if status in (401, 403) else "try again later",
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WeightsError(
            f"the disk of {cache_folder()} is full",
            hint="make room, or put the cache elsewhere: HF_HOME=FOLDER align3r ...",
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return WeightsError(
            f"{cache_folder()} cannot be written",
            hint="put the cache elsewhere: HF_HOME=FOLDER align3r ...",
        )
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    return WeightsError(f"{repo} could not be downloaded: {reason}", hint="check the network")
