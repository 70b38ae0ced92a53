"""Masks and patterns of large networks are made in little more memory than they end in."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import torch

from plugins.execution.pattern.build import pattern_of

ROOT = Path(__file__).parents[4]
SIDE = 4096
"""Of a layer: 16.8 million weights, whose places in int64 would take 134 MB."""


def pattern_memory(mask):
    """Bytes that the pattern of ``mask`` keeps, and most that were taken meanwhile."""
    pattern_of(mask[:64, :64], (16, 16))  # what is allocated once only
    tracemalloc.start()
    try:
        pattern = pattern_of(mask)
        return pattern.bytes, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("density", [0.05, 0.3])
def test_a_pattern_is_built_from_a_few_strips(density):
    mask = torch.rand(SIDE, SIDE, generator=torch.Generator().manual_seed(0)) < density
    kept, peak = pattern_memory(mask)
    assert kept >= 4 * density * mask.numel()
    # A strip is 64 to 256 of the 4,096 rows.
    assert peak - kept < 1.5 * mask.numel()


def test_one_of_blocks_too():
    mask = torch.rand(SIDE // 16, SIDE // 16, generator=torch.Generator().manual_seed(0)) < 0.1
    kept, peak = pattern_memory(mask.repeat_interleave(16, 0).repeat_interleave(16, 1))
    assert peak - kept < 0.5 * SIDE**2


SCRIPT = """
import ctypes, gc, json, re
from pathlib import Path

import torch
from torch import nn

from core.agent.masks import MaskSet
from plugins.execution.pattern.build import pattern_of
from plugins.masks import RandomMaskOptions, register_masks

torch.set_num_threads(1)
(component,) = [c for c in register_masks() if c.name == "uniform"]
scheme = component.build(RandomMaskOptions(0.9), None)

def memory(field):
    return 1024 * int(re.search(field + r":\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

def begin():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return memory("VmRSS")

def peaks(side, layers):
    with torch.device("meta"):
        network = nn.Sequential(*(nn.Linear(side, side) for _ in range(layers)))
    masks, start = MaskSet(0), begin()
    drawn = masks.draw("critic", network, scheme)
    bits = sum(mask["bits"].nbytes for mask in drawn.state_dict().values())
    drawing = memory("VmHWM") - start - bits
    start = begin()
    patterns = [pattern_of(mask) for mask in drawn.values()]
    kept = sum(pattern.bytes for pattern in patterns)
    return drawing, memory("VmHWM") - start - kept, bits, kept

peaks(64, 1)
print(json.dumps(peaks(SIDE, 4)))
"""


def test_masks_and_patterns_of_a_network_in_a_process_of_their_own():
    """Four layers: one mask of them at a time is a byte a weight, all would be 67 MB."""
    if not sys.platform.startswith("linux"):
        pytest.skip("needs /proc")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.replace("SIDE", str(SIDE))],
        cwd=ROOT,
        env={"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if "clear_refs" in done.stderr:
        pytest.skip("the peak of a process cannot be set back here")
    assert done.returncode == 0, done.stderr
    drawing, building, bits, kept = json.loads(done.stdout)
    assert bits == 4 * SIDE**2 / 8
    assert kept < 0.5 * 4 * SIDE**2
    assert drawing < 2.5 * SIDE**2
    # One mask, the one before it, and some strips of a pattern.
    assert building < 3.5 * SIDE**2
