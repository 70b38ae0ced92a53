"""``python -m core report``: from run directories to one page with pictures."""
