"""Conformance of loggers."""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from unittest import mock

import numpy as np

from core.api.loggers import LoggerContext, RunInfo
from plugins.testing.suites.component import ComponentSuite, shared

SCALARS = {"loss/critic": 0.5, "eval/return": 12.0, "time/elapsed": 3.25}
ODD = {"": 1.0, "a b": 1.0, "ä/ö": 1.0, "x" * 300: 1.0, "../up": 1.0, "a//b": 1.0, "%s{}": 1.0}
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "minus": -math.inf, "large": 1e300}


class LoggerSuite(ComponentSuite):
    """Takes whatever a run logs, and never gets in its way."""

    kind = "loggers"
    switches: ClassVar[Mapping[str, bool]] = {"local": True, "video": True, "resumes": True}
    """``local``: it writes under the run's directory only and asks no other machine; say no for
    a service. ``video``: it keeps videos. ``resumes``: a resumed run goes on in what is there."""

    def context(self) -> LoggerContext:
        return self.context_of(Path("never-written"))

    @staticmethod
    def context_of(directory: Path, *, resumed: bool = False) -> LoggerContext:
        """A run in this directory."""
        config = {"frames": 100, "seed": 0, "environment": {"name": "toy_states"}}
        return LoggerContext(RunInfo("a run", directory, config), resumed)

    @contextmanager
    def place(self) -> Iterator[Path]:
        """An empty run directory. Where a local logger writes elsewhere meanwhile, or asks
        another machine, that is a fault; the current and the home directory are others."""
        with TemporaryDirectory() as folder, _no_network() as asked:
            run, elsewhere = Path(folder) / "a-run-s0", Path(folder) / "elsewhere"
            for directory in (run, elsewhere):
                directory.mkdir()
            homes = {"HOME": str(elsewhere), "XDG_CACHE_HOME": str(elsewhere)}
            with contextlib.chdir(elsewhere), mock.patch.dict(os.environ, homes):
                yield run
            strays = [p for p in _files(Path(folder)) if not p.is_relative_to(run)]
            assert not (self.capable("local") and [*strays, *asked]), (
                f"it writes {', '.join(p.name for p in strays)} outside RunInfo.directory, or asks "
                f"another machine ({asked}); if it is to, say capabilities = {{'local': False}}"
            )

    def logger(self, run: Path, *, resumed: bool = False) -> Any:
        """The component, built for this run."""
        return self.found.build(self.made_options(), self.context_of(run, resumed=resumed))

    def assert_written(self, run: Path, more_than: int, what: str) -> None:
        """A local logger has written more bytes than were there."""
        assert not self.capable("local") or _bytes_in(run) > more_than, f"{what} wrote nothing"

    def test_builds_share_no_state(self) -> None:
        with self.place() as one, self.place() as two:
            first, second = self.logger(one), self.logger(two)
            found = list(shared(first, second))
            assert not found, f"two loggers share {', '.join(found)}: make it in __init__"
            for logger in (first, second):
                _close(logger, "'close' before the first 'write' (a run may fail early)")

    def test_writes_scalars(self) -> None:
        with self.place() as run:
            logger, given = self.logger(run), dict(SCALARS)
            for step in (0, 10, 10, 20):
                logger.write(step, given)
            logger.write(30, {})
            logger.close()
            _close(logger, "the second 'close'")
            assert given == SCALARS, "'write' changed the scalars, which other loggers get too"
            self.assert_written(run, 0, "'write'")

    def test_takes_videos(self) -> None:
        self.require("video")
        with self.place() as run:
            path = run / "videos" / "0000000010.mp4"
            _video(path)
            film, before = path.read_bytes(), _bytes_in(run)
            logger = self.logger(run)
            logger.write(10, SCALARS)
            logger.video(10, path)
            logger.close()
            kept = path.exists() and path.read_bytes() == film
            assert kept, "'video' took the file away or changed it; it is the run's"
            self.assert_written(run, before, "'video'")

    def test_a_resumed_run_goes_on(self) -> None:
        self.require("resumes")
        with self.place() as run:
            first = self.logger(run)
            for step in (10, 20, 30, 40):
                first.write(step, SCALARS)
            first.close()
            before = {path: path.stat().st_size for path in _files(run)}
            second = self.logger(run, resumed=True)
            for step in (30, 40, 50):  # from the checkpoint at 20 on
                second.write(step, SCALARS)
            second.close()
            for path, size in before.items():
                assert path.exists() and path.stat().st_size >= size, (  # noqa: PT018
                    f"a resumed run (LoggerContext.resumed) lost {path.name} of its earlier part: "
                    "append, or write another file"
                )
            self.assert_written(run, sum(before.values()), "a resumed run")

    def test_takes_whatever_is_logged(self) -> None:
        with self.place() as run:
            logger = self.logger(run)
            for name, value in {**ODD, **NOT_FINITE}.items():
                try:
                    logger.write(10, {name: value})
                except Exception as error:
                    raise AssertionError(
                        f"it raises {error!r} for {name[:20]!r}: {value}; it would be left out "
                        "for the rest of the run: skip or rename what it cannot take"
                    ) from error
            logger.close()


def _close(logger: Any, which: str) -> None:
    try:
        logger.close()
    except Exception as error:
        raise AssertionError(f"{which} raises {error!r}: let it do nothing") from error


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def _video(path: Path) -> None:
    from core.training.evaluation import write_video

    write_video(path, [np.full((48, 64, 3), 4 * i, dtype=np.uint8) for i in range(12)])


@contextmanager
def _no_network() -> Iterator[list[str]]:
    """Connections are refused; what was tried."""
    asked: list[str] = []

    def refuse(own: socket.socket, address: Any, *_: Any) -> int:
        asked.append(str(address))
        raise OSError("the suite allows no connections")

    with mock.patch.object(socket.socket, "connect", refuse):
        yield asked
