"""Whole networks on one observation at a time, without autograd."""
