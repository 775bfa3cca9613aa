"""A connection to a Ray cluster, or to this machine as one."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from align3r.cluster.tasks import Cluster, last_line
from align3r.errors import MissingExtraError, UsageError
from align3r.parallel import own_cpus

_OBJECT_STORE_BYTES = 80_000_000
"""Tasks and outcomes are small; Ray would take a third of the memory."""
_PATIENCE_S = 10.0
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_DEDUP_LOGS": "0",
}
"""No telemetry; a task without GPU sees none. What the user has set stays."""


@contextmanager
def connected(address: str | None) -> Iterator[Cluster]:
    """A Ray cluster: the one at this address, one that this process has joined, or this machine.

    This machine is a cluster without dashboard and telemetry, whose processes and files are gone
    with the block.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: No cluster answers at the address.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(
            "a cluster needs Ray, which is not installed", hint="pip install 'align3r[batch]'"
        ) from error
    if ray.is_initialized():
        if address is not None:
            raise UsageError(
                "this process has joined a Ray cluster already", hint="leave the address out"
            )
        yield Cluster(ray)
        return
    quiet: dict[str, Any] = {
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "include_dashboard": False,
    }
    with _scratch() as scratch, _kept_signals():
        try:
            if address is not None:
                quiet.pop("include_dashboard")
                _join(ray, address, quiet)
            else:
                ray.init(
                    address="local",
                    num_cpus=own_cpus(),
                    object_store_memory=_OBJECT_STORE_BYTES,
                    _temp_dir=str(scratch),
                    **quiet,
                )
            yield Cluster(ray)
        finally:
            ray.shutdown()


def _join(ray: Any, address: str, quiet: dict[str, Any]) -> None:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        # Ray itself asks for minutes, and fills the screen.
        if host and port.isdecimal():
            socket.create_connection((host, int(port)), timeout=_PATIENCE_S).close()
        ray.init(address=address, **quiet)
    except (OSError, OverflowError, ValueError, RuntimeError, ImportError) as error:
        raise UsageError(
            f"no Ray cluster answers at {address}: {last_line(error)}",
            hint="see `ray status`; a cluster that wants a token needs RAY_AUTH_MODE=token in the "
            "environment; without --address this machine is used",
        ) from error


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for Ray's logs and sockets, whose paths must be short."""
    place = Path("/tmp") if Path("/tmp").is_dir() else Path(tempfile.gettempdir())
    for left in place.glob("align3r-ray-*-*"):
        if not _is_alive(left.name.split("-")[2]):  # Whoever made it was killed.
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"align3r-ray-{os.getpid()}-", dir=place, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _is_alive(pid: str) -> bool:
    """Whether there is such a process; one that we may not look at is."""
    if os.name == "nt" or not pid.isdecimal():
        return True
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


@contextmanager
def _kept_signals() -> Iterator[None]:
    """Ray puts a handler of its own on SIGTERM; the caller's comes back at the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
