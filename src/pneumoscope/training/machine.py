"""What the machine can do, and how to have it do it well."""

import ctypes
import datetime as dt
import importlib.metadata
import logging
import os
import platform
import sys
from pathlib import Path
from typing import Any, Literal

import torch

from pneumoscope import __version__

_log = logging.getLogger(__name__)
_CPU_INFO = Path("/proc/cpuinfo")
Precision = Literal["bf16", "fp32"]


def choose_precision(wanted: Literal["auto", "bf16", "fp32"], *, is_on_gpu: bool) -> Precision:
    """Return the precision to train in: ``auto`` is bf16 only where the hardware computes in it.

    Args:
        wanted: What the recipe says.
        is_on_gpu: Training is on a CUDA GPU; one that stands idle beside a CPU decides nothing.

    A processor without bf16 instructions emulates them: it gives the same numbers, many times
    slower than fp32; so does one whose library is told not to use them (``ONEDNN_MAX_CPU_ISA``).
    """
    if wanted != "auto":
        return wanted
    if is_on_gpu:
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    has_instructions = {"avx512_bf16", "amx_bf16"} & _cpu_flags()
    return "bf16" if has_instructions and _library_may_use_bf16() else "fp32"


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of giving it back.

    A training step frees and asks for the same hundreds of MiB each time. By default glibc maps
    and unmaps them, and the kernel clears every page anew, which costs as much as a convolution.
    Does nothing where the C library is not glibc.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch then asks for huge pages
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return
    largest = 2**31 - 1
    options = {  # the numbers are those of <malloc.h>
        -8: 1,  # M_ARENA_MAX: one pool, so that what the backward thread frees serves the forward
        -4: 0,  # M_MMAP_MAX: no block is mapped on its own
        -1: largest,  # M_TRIM_THRESHOLD: the top of the heap stays
        -2: 2**28,  # M_TOP_PAD: grow by 256 MiB at once
    }
    library = ctypes.CDLL(None)
    for option, value in options.items():
        if library.mallopt(option, value) != 1:
            _log.debug("mallopt(%d, %d) was refused", option, value)


def describe_machine() -> dict[str, Any]:
    """Return the processor, what torch uses of it, memory and accelerators, for a run's record."""
    return {
        "platform": platform.platform(),
        "processor": _cpu_model(),
        "instructions": torch.backends.cpu.get_cpu_capability(),  # AVX2 rounds as AVX512 doesn't
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": _memory_gib(),
        "accelerators": [
            torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
        ],
    }


def describe_versions() -> dict[str, str]:
    """Return the versions of what the numbers depend on."""
    names = ("pytorch-lightning", "numpy", "pillow", "polars")
    versions = {
        "pneumoscope": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),  # unlike the package's, it names the build: +cpu, +cu132
    }
    return versions | {name: importlib.metadata.version(name) for name in names}


def note_start(facts: dict[str, Any], *, n_epochs: int) -> None:
    """Write into a run's facts with what, and on what, it trains from here on.

    A run that goes on elsewhere, or after an update, was trained in several places: weights
    differ in their last bits by processor, threads and versions, and its speed by all of them.

    Args:
        facts: The content of run.json. ``machine`` and ``versions`` are those of the first epoch;
            each later start is added to ``resumed``.
        n_epochs: Whole epochs that are on disk already.
    """
    start = {"versions": describe_versions(), "machine": describe_machine()}
    if n_epochs == 0:
        facts |= start
        return
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    facts["resumed"] = [
        *facts.get("resumed", []),
        {"time": now, "after_epoch": n_epochs} | start,
    ]


def _cpu_flags() -> set[str]:
    """Return the processor's feature flags as Linux lists them; empty elsewhere."""
    return set(_cpu_field("flags").split())


def _library_may_use_bf16() -> bool:
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _cpu_model() -> str:
    return _cpu_field("model name") or platform.processor() or platform.machine()


def _cpu_field(field: str) -> str:
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == field:
            return value.strip()
    return ""


def _memory_gib() -> float | None:
    try:
        n_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(n_bytes / 2**30, 1)
