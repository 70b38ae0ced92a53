"""The command line: finds the verb, reads its arguments, tells what went wrong."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Sequence
from typing import NoReturn

from core import __version__
from core.api.errors import UserError
from core.cli.verbs import add_verbs

MISTAKE = 2
"""Exit code for what a user can mend."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; returns the process's exit code. A user's mistake is one message.

    Raises:
        Exception: a fault of ours or of a plugin's, with a last line that says whose.
    """
    # Importing torch and its companions makes a great many objects, none of them garbage:
    # looking for some costs a quarter of the start. A run collects again once it is wired.
    collecting = gc.isenabled()
    gc.disable()
    try:
        options = _parse(sys.argv[1:] if arguments is None else list(arguments))
        code: int = options.execute(options)
    except UserError as error:
        sys.stderr.write("\n".join([str(error), *_notes(error)]) + "\n")
        return MISTAKE
    except KeyboardInterrupt as error:  # a plugin's, or before a run listens for it
        sys.stderr.writelines(f"{note}\n" for note in _notes(error))
        return 130
    finally:
        if collecting:
            gc.enable()
    return code


def _notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def _parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m core", description="Sparse deep reinforcement learning on TorchRL."
    )
    parser.add_argument("--version", action="version", version=f"openwork {__version__}")
    add_verbs(parser.add_subparsers(dest="verb", required=True, metavar="VERB"), given)
    options, rest = parser.parse_known_args(given)
    lists = (getattr(options, name, None) for name in ("presets", "overrides", "words"))
    words = next((found for found in lists if found is not None), None)
    if rest and (words is None or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognised arguments: {' '.join(rest)}")
    if words is not None:
        words.extend(rest)  # what stands behind an option, where argparse does not expect it
    return options


def process(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a verb as this process, and exit with its code."""
    code = main(arguments)
    # Else the interpreter's last collection looks through all of torch once more: a second.
    gc.freeze()
    sys.exit(code)
