"""Everything that is run on the project: ``nox`` alone runs lint, types and tests.

nox -s quickstart     train the quickstart preset
nox -s tests -- -k masks
nox -s bench -- --json
"""

from __future__ import annotations

import os
import shutil
import subprocess

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.default_venv_backend = "venv"

CONSTRAINTS = ("-c", "constraints.txt")
GL_PACKAGES = ("libegl1", "libgl1-mesa-dri", "libosmesa6")
BENCHMARKS = (
    *("collecting", "replay", "update", "execution"),
    *("streaming", "describing", "diagnostics", "mask_changes"),
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def group(*names: str) -> tuple[str, ...]:
    """Requirements of dependency groups of pyproject.toml."""
    return nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), *names)


def install(session: nox.Session, *groups: str) -> None:
    """The project and the named dependency groups, at the versions that were tested."""
    session.install(*CONSTRAINTS, "-e", ".", *group(*groups), silent=True)


def ensure_rendering(session: nox.Session) -> None:
    """Install Debian's OpenGL libraries where there are none and we may; else say so."""
    probe = "import plugins.environments.rendering as r; r.choose(required=True)"
    found = subprocess.run(
        [f"{session.bin}/python", "-c", probe], check=False, capture_output=True
    ).returncode
    if found != 0:
        install_debian(session, GL_PACKAGES, "no OpenGL: rendering tests will fail")


def ensure_browser(session: nox.Session) -> None:
    """Install Debian's Chromium where there is no browser and we may; else say so."""
    if not any(shutil.which(name) for name in BROWSERS):
        install_debian(session, ("chromium",), "no Chromium: browser tests are skipped")


def install_debian(session: nox.Session, packages: tuple[str, ...], otherwise: str) -> None:
    """Install packages as root on Debian; elsewhere a warning."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        session.run("apt-get", "-q", "update", external=True, silent=True)
        session.run("apt-get", "-q", "install", "-y", *packages, external=True, silent=True)
    else:
        session.warn(f"{otherwise}; install {', '.join(packages)}")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, formatting, and which part may import which. Needs no torch."""
    session.install(*CONSTRAINTS, *group("lint"), silent=True)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """mypy --strict."""
    install(session, "types")
    session.run("mypy")


@nox.session
def tests(session: nox.Session) -> None:
    """The fast tests, every preset among them."""
    install(session, "test")
    ensure_rendering(session)
    ensure_browser(session)
    session.run("pytest", "-n", "2", "--dist", "worksteal", *session.posargs)


@nox.session(default=False)
def presets(session: nox.Session) -> None:
    """Every preset is checked and runs a few updates."""
    install(session, "test")
    ensure_rendering(session)
    session.run("pytest", "tests/presets", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """All benchmarks, one after the other."""
    install(session)
    ensure_rendering(session)
    for name in BENCHMARKS:
        session.run("python", f"bench/{name}.py", *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build; a warning is an error."""
    install(session, "docs")
    session.run("sphinx-build", "-W", "-n", "-q", "docs", "docs/_build")


@nox.session(default=False)
def quickstart(session: nox.Session) -> None:
    """Train the quickstart preset."""
    install(session)
    session.run("python", "-m", "core.run", "presets/quickstart.yaml", *session.posargs)
