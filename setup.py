"""Builds the compiled libraries; everything else about the package is in pyproject.toml."""

from __future__ import annotations

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

OPENMP = "-fopenmp"


class BuildLibraries(build_ext):
    """As always, but a compiler that lacks OpenMP builds for one thread."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except (CompileError, LinkError):
            if OPENMP not in ext.extra_compile_args:
                raise
            for arguments in (ext.extra_compile_args, ext.extra_link_args):
                arguments[:] = [argument for argument in arguments if argument != OPENMP]
            super().build_extension(ext)


setup(cmdclass={"build_ext": BuildLibraries})
