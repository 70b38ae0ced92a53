"""Draws what the figures give, writes it beside the page, and readies it for the page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from core.api import AnyComponent, FigureContext, Picture, Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "pictures"
"""Beside the page; the report's own: what lies in it is replaced."""
FORMATS = {"png": ("png",), "svg": ("svg",), "both": ("png", "svg")}
DPI = 150
HEAVY = 1_500_000
"""Characters of SVG from which on the page shows a PNG instead."""
NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
REFERENCE = re.compile(r"url\(#([^)]+)\)")


@dataclass(frozen=True)
class Drawn:
    """A picture as the page shows it."""

    name: str
    section: str
    title: str
    caption: str
    folded: bool
    markup: str
    """HTML: an ``<svg>``, or an ``<img>`` that holds its PNG."""


@dataclass
class Gallery:
    """What the figures gave."""

    pictures: list[Drawn] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Figures that raised, with their provider."""


def draw(
    study: Study, figures: Sequence[tuple[AnyComponent, Any]], directory: Path, kind: str
) -> Gallery:
    """Draw everything, one picture at a time, into ``directory/pictures``.

    A figure that raises is noted; what it gave before is kept, and the others go on.
    """
    gallery, folder = Gallery(), directory / FOLDER
    _clear(folder)
    for component, options in figures:
        try:
            with _own_style():
                figure = component.build(options, FigureContext())
                for picture in figure.draw(study):
                    with _closing(picture.figure):
                        drawn = _finish(picture, folder, kind, gallery.pictures)
                    gallery.pictures.append(drawn)
        except Exception as error:
            who = f"figure '{component.name}' ({component.provider})"
            gallery.problems.append(f"{who} failed: {type(error).__name__}: {error}")
    return gallery


@contextmanager
def _own_style() -> Iterator[None]:
    """Matplotlib's own settings: a user's matplotlibrc does not change what a report looks like."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        # text stays text, to be selected and found; ids are the same every time
        matplotlib.rc("svg", fonttype="none", hashsalt="openwork")
        yield


def _clear(folder: Path) -> None:
    """Pictures of an earlier report would be taken for this one's."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.suffix in {".png", ".svg"}:
            path.unlink()


def _finish(picture: Picture, folder: Path, kind: str, earlier: Iterable[Drawn]) -> Drawn:
    """Write a picture's files."""
    if not NAME.fullmatch(picture.name):
        raise ValueError(f"a picture is named '{picture.name}'; {NAME.pattern} is allowed")
    if any(other.name == picture.name for other in earlier):
        raise ValueError(f"there is a picture '{picture.name}' already")
    files = {form: _saved(picture.figure, form) for form in FORMATS[kind]}
    for form, content in files.items():
        (folder / f"{picture.name}.{form}").write_bytes(content)
    svg = files.get("svg")
    if svg is not None and len(svg) <= HEAVY:
        markup = inline_svg(svg.decode(), picture.name, picture.title)
    else:
        markup = _inline_png(files.get("png") or _saved(picture.figure, "png"), picture.title)
    told = (picture.name, picture.section, picture.title, picture.caption, picture.folded)
    return Drawn(*told, markup)


def _saved(figure: Figure, form: str) -> bytes:
    buffer = io.BytesIO()
    # no dates and versions: the same runs give the same bytes
    metadata: dict[str, Any] = {"png": {"Software": None}, "svg": {"Date": None, "Creator": None}}
    figure.savefig(buffer, format=form, dpi=DPI, metadata=metadata[form])
    figure.set_layout_engine("none")  # it is laid out now: half of the work for a second format
    return buffer.getvalue()


@contextmanager
def _closing(figure: Figure) -> Iterator[None]:
    """Few figures are in memory at once."""
    from matplotlib import pyplot

    try:
        yield
    finally:
        pyplot.close(figure)
        figure.clear()


def inline_svg(text: str, name: str, title: str) -> str:
    """An SVG file as an element of a page: ids of its own, as wide as there is room."""
    root = ElementTree.fromstring(text)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in {"metadata", "style"}:  # its style would be the page's
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(key): value for key, value in element.attrib.items()}
        element.attrib.clear()
        element.attrib.update({k: _renamed(k, v, name) for k, v in attributes.items()})
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.attrib |= {"role": "img", "aria-label": title}
    return ElementTree.tostring(root, encoding="unicode")


def _local(name: str) -> str:
    """A name without its namespace, which HTML does not need (``xlink:href`` is ``href``)."""
    return name.rpartition("}")[2]


def _renamed(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == "href" and value.startswith("#"):
        return f"#{name}-{value[1:]}"
    return REFERENCE.sub(rf"url(#{name}-\1)", value)


def _inline_png(content: bytes, title: str) -> str:
    image = ElementTree.Element("img", {"alt": title})
    image.attrib["src"] = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return ElementTree.tostring(image, encoding="unicode", method="html")
