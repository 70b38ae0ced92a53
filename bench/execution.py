"""What sparse execution gains: time and memory against dense and masked networks.

``python bench/execution.py [critic memory rows learner run same] [--rounds 5] [--json]``

critic   a critic update, against plain dense, mask after the step, weight x mask
memory   peak memory of training, a fresh process for each way
rows     one observation at a time: acting, and an update by ObGD with traces
learner  a step of TorchRL's SACLoss on our networks
run      frames per second of presets/state_sparse.yaml, sparse against masked
same     the numbers of two such runs with one seed, over their first 200 updates

All by default: some ten minutes and 14 GB of memory. What is compared takes turns in one process;
times are process CPU time on one thread, wall time with ``--threads 2`` (waiting threads would
count), medians with quartiles. Ratios are taken round by round. Each part's file says what its
rivals are.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch

from bench import (
    execution_critic,
    execution_learner,
    execution_memory,
    execution_rows,
    execution_run,
)
from bench.agents import matrix_units
from bench.timing import clock, say

WIDTHS = {"critic": [512, 1024, 2048], "rows": [512, 1024, 2048], "learner": [1024]}
ROUNDS = {"rows": 9, "learner": 5, "run": 3}
PARTS = ("critic", "memory", "rows", "learner", "run", "same")


def part(name: str, options: argparse.Namespace) -> Any:
    """Measure and show one part; its numbers."""
    rounds = options.rounds or ROUNDS.get(name, 0)
    widths = options.widths or WIDTHS.get(name, [])
    ticks = clock(options.threads)
    if name == "critic":
        turns = options.rounds  # by default those of each width
        return execution_critic.run(widths, turns, ticks, options.bfloat16, options.sparsities)
    if name == "memory":
        return execution_memory.run(dense=not options.no_dense)
    if name == "rows":
        return execution_rows.run(widths, rounds, ticks, options.sparsities or [0.9])
    if name == "learner":
        return execution_learner.run(widths, rounds, ticks)
    if name == "run":
        return execution_run.run(rounds, options.run_threads, options.scale)
    return execution_run.same(options.updates, options.run_threads, options.scale)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    add("--rounds", type=int, help="default: by part, 3 to 9")
    add("--widths", type=int, nargs="+", help="of the critics; default: by part")
    add("--sparsities", type=float, nargs="+", help="default: by part and width")
    add("--threads", type=int, default=1, help="of critic, rows and learner; default: 1")
    add("--bfloat16", action="store_true", help="critic: bfloat16 products too")
    add("--no-dense", action="store_true", help="memory: leave the dense ways out")
    add("--scale", type=float, help="run, same: network.width_scale; default: 5 and 1")
    add("--updates", type=int, default=200, help="same: how many; default: 200")
    add("--run-threads", type=int, default=2, help="run, same: threads; default: 2")
    add("--json", action="store_true", help="print numbers as JSON; tables go to stderr")
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"no such part: {', '.join(unknown)}; choose from {', '.join(PARTS)}")
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore", module="torchrl|tensordict|gymnasium")
    if not matrix_units():
        say("this CPU has no AMX: dense in bfloat16 ('medium') is not a rival here")
    results: dict[str, Any] = {"torch": torch.__version__, "threads": options.threads}
    for name in options.parts or PARTS:
        with redirect_stdout(sys.stderr if options.json else sys.stdout):
            results[name] = part(name, options)
    if options.json:
        print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
