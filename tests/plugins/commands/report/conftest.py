"""One report that several modules of tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.commands.report.reports import SHORT, report
from tests.support.recorded import write_study


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four runs, with its report in ``report/``."""
    folder = tmp_path_factory.mktemp("study")
    write_study(folder, seeds=2, **SHORT)
    assert report(folder, "--format", "svg") == 0
    return folder
