"""Environments without a simulator, for tests; :mod:`plugins.testing.toys.toy` offers them."""
