"""Fixtures for the tests of plugins; pytest finds them by itself where openwork is installed."""
