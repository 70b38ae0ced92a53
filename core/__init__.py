"""The minimal core of Openwork. Plugins import :mod:`core.api` and nothing else from here."""

__version__ = "0.1.0"
