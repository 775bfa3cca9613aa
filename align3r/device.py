"""Where to compute: the only module that names devices."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from align3r.config import PrecisionName
from align3r.errors import UsageError

# Numbers of glibc's malloc.h, and the largest threshold it takes.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
_DEFAULT_THRESHOLD = 128 * 2**10
_KEPT_BYTES = 2**30


def resolve_device(name: str) -> torch.device:
    """The torch device for `auto`, `cpu`, `cuda` or `mps`.

    Raises:
        UsageError: The device asked for by name is not on this machine.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available.get(name, False):
        raise UsageError(f"no {name} device on this machine", hint="use --device auto")
    return torch.device(name)


def exact_dtype(device: torch.device) -> torch.dtype:
    """The widest floats of a device: Apple's GPUs have none of 64 bits."""
    return torch.float32 if device.type == "mps" else torch.float64


def free_memory_bytes() -> int:
    """Main memory that can be used without swapping."""
    try:
        with open("/proc/meminfo") as lines:  # noqa: PTH123
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return machine_memory_bytes()


def machine_memory_bytes() -> int:
    """Main memory of the whole machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextmanager
def kept_heap() -> Iterator[None]:
    """Freed memory stays with the process inside, for the next layer of a network to take.

    The C library of Linux gives large blocks back as soon as they are free and asks for them
    again, zeroed, an instant later: up to two thirds of a network's time on a CPU. Other systems
    are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        yield
        return
    mallopt(_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    try:
        yield
    finally:
        mallopt(_TRIM_THRESHOLD, _DEFAULT_THRESHOLD)
        mallopt(_MMAP_THRESHOLD, _DEFAULT_THRESHOLD)


@contextmanager
def exact_convolutions(device: torch.device) -> Iterator[None]:
    """Float32 convolutions in float32: a GPU takes TF32, with 10 bits, unless told not to."""
    if device.type != "cuda":
        yield
        return
    newer: Any = getattr(torch.backends.cudnn, "conv", None)
    if hasattr(newer, "fp32_precision"):
        # Since torch 2.9; the flag of old must not be touched beside it.
        before = newer.fp32_precision
        newer.fp32_precision = "ieee"
        try:
            yield
        finally:
            newer.fp32_precision = before
        return
    with torch.backends.cudnn.flags(
        enabled=torch.backends.cudnn.enabled,
        benchmark=torch.backends.cudnn.benchmark,
        deterministic=torch.backends.cudnn.deterministic,
        allow_tf32=False,
    ):
        yield


def free_device_bytes(device: torch.device) -> int | None:
    """Free memory of a GPU; None for a device that shares the main memory."""
    if device.type != "cuda":
        return None
    return int(torch.cuda.mem_get_info(device)[0])


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """Copy to a device; to a GPU by way of pinned memory, without waiting."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def to_host(values: Tensor) -> Tensor:
    """Copy to main memory; from a GPU into pinned memory."""
    if not values.is_cuda:
        return values.cpu()
    return torch.empty_like(values, device="cpu", pin_memory=True).copy_(values)


def resolve_precision(name: PrecisionName, device: torch.device) -> torch.dtype:
    """The dtype of a network's matrices for `auto`, `fp32`, `bf16` or `fp16`.

    Raises:
        UsageError: The device cannot compute in the precision asked for by name.
    """
    if name == "auto":
        return torch.bfloat16 if _has_bf16(device) else torch.float32
    if name == "bf16" and not (device.type == "cpu" or _has_bf16(device)):
        raise UsageError(f"{device.type} has no bf16", hint="use --network.precision fp32")
    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[name]


def _has_bf16(device: torch.device) -> bool:
    """Whether bf16 products run in hardware; elsewhere they are slower than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(_cpu_flags() & {"avx512_bf16", "amx_bf16", "bf16"})


def _cpu_flags() -> frozenset[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    # "flags" on x86, "Features" on ARM.
    found = (line.partition(":")[2] for line in lines if line[:5].lower() in ("flags", "featu"))
    return frozenset(next(found, "").split())
