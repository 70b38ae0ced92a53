"""``python -m core VERB``: the command line."""

from core.cli import process

if __name__ == "__main__":
    process()
