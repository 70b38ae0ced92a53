"""``python -m core.run PRESET [PRESET ...] [key=value ...]``: train."""

import sys

from core.cli import main

if __name__ == "__main__":
    sys.exit(main(["run", *sys.argv[1:]]))
