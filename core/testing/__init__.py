"""Conformance suites for plugins: what a plugin's author subclasses in five lines."""
