"""``bench-execution``: what sparse execution brings on this machine."""
