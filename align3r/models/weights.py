"""From a name to files: published weights by name, any repository, or what is on this disk."""

from __future__ import annotations

import difflib
import logging
import re
from dataclasses import dataclass
from pathlib import Path

from align3r.errors import WeightsError
from align3r.models import hub
from align3r.models.catalogue import CATALOGUE, Published

log = logging.getLogger(__name__)

# The hub's own rule for names.
_REPOSITORY = re.compile(r"(?!.*(?:--|\.\.))\w(?:[\w.-]*\w)?/\w(?:[\w.-]{0,94}\w)?")
_REVISION = re.compile(r"(?!.*\.\.)\w[\w./-]*")
_FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".git")


@dataclass(frozen=True, kw_only=True)
class Remote:
    """Weights on the hub."""

    repo: str
    revision: str
    name: str
    """What the user calls them."""
    published: Published | None
    """Their entry in the catalogue, if they have one."""


def locate(spec: str, *, download: bool = True, notify: hub.Notify = log.warning) -> Path:
    """The file or folder that a name stands for; downloads it if it has to.

    What is in the cache is taken as it is: a branch is resolved when it is first downloaded, and
    stays at that commit until another is asked for by `repo@commit`.

    Args:
        spec: Name in the catalogue, file, folder, `owner/repository` or one of them `@revision`.
        download: Fetch what is not there.
        notify: Is told size and licence before a download.

    Returns:
        A file, or a folder with config.json and model.safetensors.

    Raises:
        WeightsError: There is nothing under that name, or it cannot be downloaded.
    """
    source = resolve(spec)
    if isinstance(source, Path):
        return source
    if found := hub.cached_snapshot(source.repo, source.revision):
        return found
    if not download:
        raise WeightsError(f"{source.name} is not on this machine", hint=_ways(source))
    try:
        return hub.download(source.repo, source.revision, notify=notify, published=source.published)
    except WeightsError as error:
        raise WeightsError(str(error), hint=f"{error.hint}; or {_ways(source)}") from error


def is_cached(spec: str) -> bool:
    """Whether `locate` would answer without a download."""
    try:
        locate(spec, download=False)
    except WeightsError:
        return False
    return True


def is_available(spec: str) -> bool:
    """Whether `locate` would find the weights here, or could download them now."""
    if is_cached(spec):
        return True
    try:
        source = resolve(spec)
        if not isinstance(source, Path):
            hub.plan_download(source.repo, source.revision, published=source.published)
    except WeightsError as error:
        log.info("%s", error)
        return False
    return True


def resolve(spec: str) -> Path | Remote:
    """What a name means: something on this disk that exists, or weights on the hub.

    Raises:
        WeightsError: It means neither.
    """
    name, _, revision = spec.partition("@")
    path = Path(spec).expanduser()
    if published := CATALOGUE.get(name):
        if published.by_hand:
            raise WeightsError(
                f"{name} is not on the hub, its authors give it elsewhere",
                hint=f"fetch {published.by_hand} by the link in the README of github.com/"
                f"{published.repo} and name that file with --weights",
            )
        repo, revision = published.repo, revision or published.revision
    elif spec and path.exists():
        return path
    elif _REPOSITORY.fullmatch(name) and not name.endswith(_FILE_ENDINGS):
        repo, revision = name, revision or "main"
    else:
        raise _unknown(spec)
    if not _REVISION.fullmatch(revision):
        raise WeightsError(f"{revision!r} is no revision", hint="a branch, a tag or a commit")
    return Remote(repo=repo, revision=revision, name=spec, published=published)


_OTHERWISE = {
    "pair": "name a file or folder with --weights, or use --model geometric, which needs none",
    "depth": "name a folder with --prior.weights, or your own depth maps with --prior-dir",
    "masks": "leave out --masks sam2",
    "unknown": "name a file or folder",
}
"""What else there is to do, by the kind of the weights."""


def _unknown(spec: str) -> WeightsError:
    close = difflib.get_close_matches(spec, CATALOGUE, n=1)
    return WeightsError(
        f"{spec or 'an empty name'} is no file, no folder and no known model",
        hint=f"did you mean {close[0]}?" if close else f"known are {', '.join(CATALOGUE)}",
    )


def _ways(source: Remote) -> str:
    """How else the weights could get here."""
    kind = source.published.kind if source.published else "unknown"
    return (
        f"run `align3r models download {source.name}` where there is a network and copy "
        f"{hub.cache_folder()} from there, or {_OTHERWISE[kind]}"
    )
