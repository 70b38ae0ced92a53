"""The batch kernels under sanitizers: memory, undefined behaviour, races between threads."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "check_linear.cpp"
FLAGS = ["-std=c++17", "-Og", "-g0", "-fno-trapping-math", "-pthread", "-fno-sanitize-recover=all"]
WARNINGS = ["-Wall", "-Wextra", "-Werror"]
EMPTY = "int main() { return 0; }"


@pytest.mark.parametrize(
    ("sanitizer", "defines"),
    [
        ("address,undefined", ["-DOPENWORK_STD_THREADS"]),
        # Races do not depend on the instruction set; the kernels are compiled for one.
        ("thread", ["-DOPENWORK_STD_THREADS", "-DOPENWORK_ONE_LEVEL"]),
    ],
)
def test_runs_clean(sanitizer, defines, tmp_path):
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    command = [compiler, *FLAGS, f"-fsanitize={sanitizer}"]
    program = tmp_path / "program"
    trial = [*command, "-x", "c++", "-", "-o", program]
    made = subprocess.run(trial, input=EMPTY, text=True, capture_output=True, check=False)
    if made.returncode or subprocess.run([program], capture_output=True, check=False).returncode:
        pytest.skip(f"this compiler or system has no -fsanitize={sanitizer}")
    subprocess.run([*command, *WARNINGS, *defines, PROGRAM, "-o", program], check=True)
    result = subprocess.run([program], text=True, capture_output=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
