"""``python -m core.run PRESET [PRESET ...] [key=value ...]``: train."""

import sys

from core.cli import process

if __name__ == "__main__":
    process(["run", *sys.argv[1:]])
