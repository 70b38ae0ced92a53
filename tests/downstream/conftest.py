"""Fresh environments, as a third party has them: Openwork is installed, the plugin is not yet."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from tests.support import installations

HERE = Path(__file__).parent
collect_ignore = ["sample_plugin"]  # its tests are run where it is installed
SAMPLE = HERE / "sample_plugin"


@dataclass(frozen=True)
class Outcome:
    """A command that has ended."""

    command: str
    code: int
    out: str
    err: str

    def ok(self) -> Outcome:
        assert self.code == 0, f"$ {self.command}\n{self.out}\n{self.err}\nexit code {self.code}"
        return self


class Environment:
    """A virtual environment that also sees what the one of the tests has.

    So that torch need not be installed again; the network is never asked for anything.
    """

    def __init__(self, folder: Path) -> None:
        venv.EnvBuilder(with_pip=False, symlinks=os.name != "nt").create(folder)
        names = {"base": str(folder), "platbase": str(folder)}
        self.scripts = Path(sysconfig.get_path("scripts", "venv", names))
        self.python = self.scripts / Path(sys.executable).name
        outer = sysconfig.get_path("purelib")
        self.site = Path(sysconfig.get_path("purelib", "venv", names))
        (self.site / "outer.pth").write_text(f"import site; site.addsitedir({outer!r})\n")

    def variables(self) -> dict[str, str]:
        """What a shell in which the environment is active has."""
        kept = {n: v for n, v in os.environ.items() if n not in ("PYTHONPATH", "PYTHONHOME")}
        return {
            **{n: v for n, v in kept.items() if not n.startswith(("PIP_", "OPENWORK_", "COV_"))},
            "PATH": os.pathsep.join([str(self.scripts), os.environ["PATH"]]),
            "VIRTUAL_ENV": str(self.scripts.parent),
            "OMP_NUM_THREADS": "1",
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # this variable's 0 is the option's yes (pip #5735)
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }

    def run(self, *words: str | Path, cwd: Path, timeout: float = 300) -> Outcome:
        """``python WORDS`` of this environment."""
        command = [str(self.python), *map(str, words)]
        done = subprocess.run(
            command,
            cwd=cwd,
            env=self.variables(),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        return Outcome(" ".join(command), done.returncode, done.stdout, done.stderr)

    def install(self, *projects: Path, cwd: Path) -> None:
        """Install packages to be edited, by pip."""
        words = [word for project in projects for word in ("-e", str(project))]
        self.run("-m", "pip", "install", "-q", *words, cwd=cwd).ok()

    def link(self, *projects: Path) -> None:
        """Packages as pip leaves those that are to be edited, without building each of them."""
        for project in projects:
            about = tomllib.loads((project / "pyproject.toml").read_text())["project"]
            points = about["entry-points"]["openwork"]
            installations.install(self.site, about["name"], about["version"], points)
            (self.site / f"{about['name']}.pth").write_text(f"{project / 'src'}\n")


def missing(distributions: Sequence[str]) -> list[str]:
    """What the environment of the tests lacks.

    By metadata: looking for the module pip makes setuptools give up its own distutils in this
    process, without which torch compiles nothing.
    """
    installed = {distribution.name for distribution in metadata.distributions()}
    return [name for name in distributions if name not in installed]


@pytest.fixture(scope="session", autouse=True)
def _tools() -> None:
    lacking = missing(["pip", "setuptools", "ruff", "mypy"])
    assert not lacking, f"pip install {' '.join(lacking)} (the dependency group 'test')"
