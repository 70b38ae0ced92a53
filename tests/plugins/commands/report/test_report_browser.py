"""The report's page in a real browser: headless Chromium, without a network."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.api.figures import colour
from core.cli import main

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",  # with what the page writes to the console
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--virtual-time-budget=10000",
)
WIDTH, NARROW = 1280, 400
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
MEASURE = """
<script>
const broken = [];
document.addEventListener("securitypolicyviolation", e => broken.push(e.blockedURI));
window.addEventListener("error", e => broken.push(String(e.message)));
window.addEventListener("load", () => {
  document.querySelectorAll("details").forEach(d => { d.open = true; });
  const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.top, r.right, r.bottom]; };
  const figures = [...document.querySelectorAll("figure")].map(figure => {
    const picture = figure.querySelector("svg, img");
    const texts = [...picture.querySelectorAll("text")];
    return {name: figure.id, box: box(picture),
            texts: texts.map(t => [t.textContent, box(t), getComputedStyle(t).fontSize])};
  });
  const links = [...document.querySelectorAll("[src], [href]")].map(
    e => e.getAttribute("src") || e.getAttribute("href"));
  const measured = {figures, links, broken, width: window.innerWidth,
    scroll: document.documentElement.scrollWidth,
    loaded: performance.getEntriesByType("resource").map(entry => entry.name)};
  const out = document.createElement("pre");
  out.id = "measured";
  out.textContent = JSON.stringify(measured);
  document.body.append(out);
});
</script>
"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium (Debian: chromium)"),
]


def chromium(page: Path, folder: Path, *flags: str, width: int = WIDTH) -> str:
    """Open a page; what the browser prints. Nothing may be written to its console."""
    profile = folder / "profile"
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", f"--window-size={width},2000"]
    done = subprocess.run(
        [*command, *flags, page.as_uri()], capture_output=True, text=True, timeout=300, check=True
    )
    shutil.rmtree(profile, ignore_errors=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    return done.stdout


def measured(page: Path, folder: Path, width: int = WIDTH) -> dict[str, Any]:
    """Everything unfolded, sizes and links as the browser sees them, of a copy with a script."""
    text = page.read_text(encoding="utf-8")
    assert POLICY in text
    allowed = text.replace(POLICY, f"{POLICY}; script-src 'unsafe-inline'")
    copy = folder / "measured.html"
    copy.write_text(allowed.replace("<title>", MEASURE + "<title>"), encoding="utf-8")
    dom = chromium(copy, folder, "--dump-dom", width=width)
    found = re.search(r'<pre id="measured">(.*?)</pre>', dom, re.DOTALL)
    assert found, dom[-2000:]
    result: dict[str, Any] = json.loads(html.unescape(found[1]))
    return result


@pytest.fixture
def page(study: Path) -> Path:
    return study / "report" / "index.html"


@pytest.mark.parametrize("width", [WIDTH, NARROW])
def test_every_picture_is_read_whole_and_nothing_is_fetched(
    page: Path, tmp_path: Path, width: int
) -> None:
    seen, slack = measured(page, tmp_path, width), 2
    assert seen["broken"] == []
    assert seen["loaded"] == []
    assert all(link.startswith(("#", "data:")) for link in seen["links"])
    assert seen["scroll"] <= seen["width"]
    drawn = {path.stem for path in (page.parent / "pictures").glob("*.svg")}
    assert {figure["name"] for figure in seen["figures"]} == drawn
    assert len(drawn) > 10
    for figure in seen["figures"]:
        left, top, right, bottom = figure["box"]
        assert right - left > 300, figure["name"]
        assert bottom - top > 100, figure["name"]
        assert figure["texts"], figure["name"]
        for text, (x0, y0, x1, y1), _ in figure["texts"]:
            where = (figure["name"], text)
            assert text.strip(), where
            assert x1 > x0, where
            assert y1 > y0, where
            assert x0 >= left - slack, where
            assert y0 >= top - slack, where
            assert x1 <= right + slack, where
            assert y1 <= bottom + slack, where


def test_the_page_as_it_is_seen(page: Path, tmp_path: Path) -> None:
    from PIL import Image

    shot = tmp_path / "shot.png"
    chromium(page, tmp_path, f"--screenshot={shot}")
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (2000, WIDTH, 3)
    lower = pixels[1000:]  # below the tables: curves
    for index in range(2):
        red, green, blue = bytes.fromhex(colour(index)[1:])
        assert (pixels[:1000] == (red, green, blue)).all(-1).sum() > 50, "a swatch"
        assert (lower == (red, green, blue)).all(-1).sum() > 50, "a curve"


def test_a_page_of_damage_opens_too(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "metrics.jsonl").write_text('{"step": 1, "<script>alert(1)</script>": 1}\n?\n')
    assert main(["report", str(run)]) == 0
    seen = measured(run / "report" / "index.html", tmp_path)
    assert seen["broken"] == []
