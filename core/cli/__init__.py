"""The command line: one small file per verb."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from typing import NoReturn

from core import __version__
from core.cli.common import Verbs, add_commands
from core.errors import UserError

MISTAKE = 2
"""Exit code for what a user can mend."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the process's exit code. A user's mistake is one message."""
    parser = argparse.ArgumentParser(
        prog="python -m core", description="Sparse deep reinforcement learning on TorchRL."
    )
    parser.add_argument("--version", action="version", version=f"openwork {__version__}")
    words_given = sys.argv[1:] if arguments is None else arguments
    _add_verbs(parser.add_subparsers(dest="verb", required=True, metavar="VERB"), words_given)
    options, rest = parser.parse_known_args(arguments)
    words = getattr(options, "presets", getattr(options, "overrides", None))
    if rest and (words is None or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    if words is not None:
        words.extend(rest)  # overrides that stand behind an option, which argparse does not expect
    # Importing torch and its companions makes a great many objects, none of them garbage:
    # looking for some costs a quarter of the start. A run collects again once it is wired.
    collecting = gc.isenabled()
    gc.disable()
    try:
        code: int = options.execute(options)
    except UserError as error:
        sys.stderr.write(f"{error}\n")
        return MISTAKE
    except KeyboardInterrupt:  # before a run listens for it, when there is nothing to save
        return 130
    finally:
        if collecting:
            gc.enable()
    return code


def _add_verbs(verbs: Verbs, words: Sequence[str]) -> None:
    """Core's own verbs; those of plugins too, unless one of core's is asked for."""
    from core.cli.describe import add_parser as add_describe
    from core.cli.resume import add_parser as add_resume
    from core.cli.run import add_parser as add_run

    for add_parser in (add_run, add_resume, add_describe):
        add_parser(verbs)
    if not words or words[0] not in verbs.choices:
        add_commands(verbs)


def process(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a verb as this process, and exit with its code."""
    code = main(arguments)
    # Else the interpreter's last collection looks through all of torch once more: a second.
    gc.freeze()
    sys.exit(code)
