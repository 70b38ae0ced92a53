"""The kernels for rows read and write nothing but what they are given, and do nothing undefined.

They are built with AddressSanitizer and UndefinedBehaviorSanitizer and run in a process of their
own, with several threads. No two threads write one place: forward passes are cut by rows of the
output, backward passes by panels or columns of blocks (places of the input's gradient and of
the trace) or by slices of rows (sums of their own); test_online_sparse.py adds that
the results are the same to the bit for any number of threads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
SOURCE = ROOT / "plugins" / "execution" / "native" / "online" / "online.cpp"
FLAGS = ["-std=c++17", "-O0", "-fopenmp-simd", "-fopenmp", "-fPIC", "-shared"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
SANITIZERS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
SCRIPT = """
import sys
from ctypes import PyDLL
import torch
from plugins.execution.online import library
from plugins.execution.online import program
from tests.plugins.execution.online.kept_networks import BACKENDS, perceptron, simba, some_masks

kernels = library.LIBRARY.declared(PyDLL(sys.argv[1]))
library.kernels = lambda: kernels
torch.set_num_threads(2)
program.LARGE = 1000
CASES = [
    (lambda: simba(7, 33, heads=(2, 3)), 0.3, False),
    (lambda: simba(96, 272, 1), 0.02, False),
    (lambda: simba(96, 272, 1), 0.1, False),
    (lambda: simba(32, 320, 1), 0.3, True),
    (lambda: perceptron(5, (19, 1), (1,), True, torch.nn.LeakyReLU), 0.5, False),
]
for level in range(3):
    if kernels.openwork_online_use(level) != level:
        break
    for make, density, blocks in CASES:
        for backend in BACKENDS:
            torch.manual_seed(0)
            module = make()
            execution = BACKENDS[backend]()
            row = execution.online(execution.attach(module, some_masks(module, density, blocks)))
            trace = torch.zeros(row.parameters)
            for _ in range(2):
                row.forward(torch.randn(row.inputs))
                row.forward_both(*torch.randn(2, row.inputs))
                row.accumulate(torch.randn(row.outputs), trace, 0.5)
                row.move(trace, 0.01)
            assert trace.isfinite().all()
print("clean")
"""


def test_the_kernels_run_clean_under_sanitizers(tmp_path):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    file = tmp_path / "rows.so"
    built = subprocess.run(
        [compiler, *FLAGS, *WARNINGS, *SANITIZERS, SOURCE, "-o", file], check=False
    )
    asked = [compiler, "-print-file-name=libasan.so"]
    runtime = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    if built.returncode or not Path(runtime).is_file():
        pytest.skip("no sanitizers")
    environment = {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0",
        "PYTHONPATH": str(ROOT),
        "PYTHONMALLOC": "malloc",
    }
    command = [sys.executable, "-c", SCRIPT, str(file)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip().endswith("clean")
