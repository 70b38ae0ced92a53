"""Conformance of loggers."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar
from unittest import mock

import numpy as np

from core.api.loggers import LoggerContext, RunInfo
from plugins.testing.harness import sharing
from plugins.testing.suites.component import ComponentSuite

SCALARS = {"loss/critic": 0.5, "eval/return": 12.0, "time/elapsed": 3.25}
ODD = {"": 1.0, "a b": 1.0, "ä/ö": 1.0, "x" * 300: 1.0, "../up": 1.0, "a//b": 1.0, "%s{}": 1.0}
NOT_FINITE = {"nan": math.nan, "inf": math.inf, "minus": -math.inf, "large": 1e300}


@dataclass(frozen=True)
class Place:
    """Where a run writes, and where nobody should."""

    run: Path
    elsewhere: Path

    def strays(self) -> list[str]:
        """Files that are not in the run's directory."""
        return sorted(str(path.relative_to(self.elsewhere)) for path in _files(self.elsewhere))


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
    def place(self) -> Iterator[Place]:
        """An empty run directory; the current one and the home directory are elsewhere."""
        with TemporaryDirectory() as folder:
            place = Place(Path(folder) / "a-run-s0", Path(folder) / "elsewhere")
            for directory in (place.run, place.elsewhere):
                directory.mkdir()
            homes = {"HOME": str(place.elsewhere), "XDG_CACHE_HOME": str(place.elsewhere)}
            before = Path.cwd()
            os.chdir(place.elsewhere)
            try:
                with mock.patch.dict(os.environ, homes):
                    yield place
            finally:
                os.chdir(before)

    def logger(self, place: Place, *, resumed: bool = False) -> Any:
        """The component, built for this run."""
        return self.found.build(self.made_options(), self.context_of(place.run, resumed=resumed))

    def test_builds_share_no_state(self) -> None:
        with self.place() as one, self.place() as two:
            first, second = self.logger(one), self.logger(two)
            shared = list(sharing.shared(first, second))
            first.close()
            second.close()
            assert not shared, f"two loggers share {', '.join(shared)}: make it in __init__"

    def test_writes_scalars(self) -> None:
        with self.place() as place:
            logger, given = self.logger(place), dict(SCALARS)
            for step in (0, 10, 10, 20):
                logger.write(step, given)
            logger.write(30, {})
            logger.close()
            assert given == SCALARS, "'write' changed the scalars, which other loggers get too"
            if self.capable("local"):
                assert list(_files(place.run)), "after 'close' nothing was written for the run"

    def test_takes_videos(self) -> None:
        self.require("video")
        with self.place() as place:
            path = place.run / "videos" / "0000000010.mp4"
            _video(path)
            size, before = path.stat().st_size, _bytes_in(place.run)
            logger = self.logger(place)
            logger.write(10, SCALARS)
            logger.video(10, path)
            logger.close()
            assert path.exists(), "'video' took the file away, which is the run's"
            assert path.stat().st_size == size, "'video' changed the file, which is the run's"
            if self.capable("local"):
                assert _bytes_in(place.run) > before, "'video' wrote nothing"

    def test_closing_twice_is_allowed(self) -> None:
        with self.place() as place:
            logger = self.logger(place)
            logger.write(1, SCALARS)
            logger.close()
            try:
                logger.close()
            except Exception as error:
                raise AssertionError(
                    f"the second 'close' raises {error!r}: let it do nothing"
                ) from error

    def test_closing_before_anything_is_allowed(self) -> None:
        with self.place() as place:
            try:
                self.logger(place).close()
            except Exception as error:
                raise AssertionError(
                    f"'close' before the first 'write' raises {error!r}: a run may fail early"
                ) from error

    def test_a_resumed_run_goes_on(self) -> None:
        self.require("resumes")
        with self.place() as place:
            first = self.logger(place)
            for step in (10, 20, 30, 40):
                first.write(step, SCALARS)
            first.close()
            before = {path: path.stat().st_size for path in _files(place.run)}
            second = self.logger(place, resumed=True)
            # from the checkpoint at 20 on
            for step in (30, 40, 50):
                second.write(step, SCALARS)
            second.close()
            for path, size in before.items():
                kept = path.exists() and path.stat().st_size >= size
                assert kept, (
                    f"a resumed run (LoggerContext.resumed) lost {path.name} of its earlier part: "
                    "append, or write another file"
                )
            if self.capable("local"):
                assert _bytes_in(place.run) > sum(before.values()), (
                    "a resumed run writes nothing more"
                )

    def test_takes_whatever_is_logged(self) -> None:
        for what, scalars in (("names", ODD), ("numbers", NOT_FINITE)):
            with self.place() as place:
                logger = self.logger(place)
                for name, value in scalars.items():
                    try:
                        logger.write(10, {name: value})
                    except Exception as error:
                        raise AssertionError(
                            f"it raises {error!r} for odd {what}, here {name[:20]!r}: {value}; it "
                            "would be left out for the rest of the run: skip or rename them"
                        ) from error
                logger.close()
                if self.capable("local"):
                    assert not place.strays(), f"odd {what} led to {place.strays()[0]}"

    def test_writes_under_the_run_directory_only(self) -> None:
        self.require("local")
        with self.place() as place, _no_network() as asked:
            logger = self.logger(place)
            logger.write(10, SCALARS)
            logger.close()
            assert not place.strays(), (
                f"it writes {place.strays()[0]} outside RunInfo.directory; write there, or say "
                "capabilities = {'local': False}"
            )
            assert not asked, (
                f"it asks another machine ({asked[0]}); say capabilities = {{'local': False}} if "
                "that is what it is for"
            )


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
