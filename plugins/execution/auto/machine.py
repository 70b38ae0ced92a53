"""What of a machine decides how fast products are."""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any

import torch

from plugins.execution.linear import library, native_product


@functools.cache
def cpu_model() -> str:
    """As the processor calls itself, ``unknown`` where it does not say."""
    return _of_cpuinfo("model name") or platform.processor() or platform.machine() or "unknown"


@functools.cache
def matrix_units() -> bool:
    """Whether the processor multiplies bfloat16 matrices in AMX units."""
    return "amx_bf16" in _of_cpuinfo("flags").split()


def fast_dense() -> bool:
    """Whether dense float32 products are allowed to run there now."""
    return matrix_units() and torch.get_float32_matmul_precision() == "medium"


def description() -> dict[str, Any]:
    """The machine in plain Python, as it is set now."""
    missing = native_product.available()
    return {
        "cpu": cpu_model(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "matrix_units": matrix_units(),
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "kernels": f"version {library.ABI}" if missing is None else missing,
        "precision": torch.get_float32_matmul_precision(),
    }


def _of_cpuinfo(field: str) -> str:
    """A field of the first processor's entry, empty where there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    found = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in found if name.strip() == field), "")
