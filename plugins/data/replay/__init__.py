"""Uniform replay over rings of single frames; ``source`` is where it begins."""
