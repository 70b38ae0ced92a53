"""Finding a preset: beside the file that names it, in the working directory, or shipped."""

from __future__ import annotations

import os
from pathlib import Path

import core
from core.api.errors import did_you_mean

SHIPPED = Path(core.__file__).resolve().parents[1] / "presets"
"""The presets that come with Openwork: of the checkout, or beside ``core`` where installed."""


def shipped() -> dict[str, Path]:
    """Every shipped preset by its name (``quickstart``, ``base/sac``), folders last."""
    paths = {preset_name(path): path for path in SHIPPED.rglob("*.yaml")}
    return dict(sorted(paths.items(), key=lambda item: ("/" in item[0], item[0])))


def preset_name(path: Path) -> str:
    """``base/sac`` of a shipped preset's path; of any other the file's name without suffix."""
    whole = path.resolve()
    inside = whole.relative_to(SHIPPED) if whole.is_relative_to(SHIPPED) else Path(whole.name)
    return inside.with_suffix("").as_posix()


def find(name: str, folder: Path = Path(), unlike: Path | None = None) -> Path | None:
    """The file that ``name`` means in ``folder``, or None.

    A file of that name in the folder comes first, then a shipped preset; ``.yaml`` may be left
    out, and ``presets/`` before a shipped one. ``unlike`` is the file that names it, and is
    never what it means, so that one's own ``quickstart.yaml`` may extend the shipped one.
    """
    for path in [folder / name, folder / f"{name}.yaml"]:
        if path.is_file() and not (unlike is not None and path.samefile(unlike)):
            return _tidy(path)
    shipped_one = find_shipped(name)
    same = shipped_one is not None and unlike is not None and shipped_one.samefile(unlike)
    return None if same else shipped_one


def find_shipped(name: str) -> Path | None:
    """The shipped preset of that name, or at that path."""
    parts = Path(name).parts
    inside = SHIPPED.joinpath(*parts[parts[:1] == (SHIPPED.name,) :])
    for path in (inside, inside.with_name(f"{inside.name}.yaml")):
        if path.is_file() and ".." not in path.parts and path.is_relative_to(SHIPPED):
            here = Path.cwd()
            return path.relative_to(here) if path.is_relative_to(here) else path
    return None


def _tidy(path: Path) -> Path:
    """The path without ``..``, where that is the same file."""
    tidy = Path(os.path.normpath(path))
    return tidy if tidy.is_file() and tidy.samefile(path) else path


def no_such_preset(name: str, folder: Path) -> str:
    """What ends the message: the nearest name, the presets of that folder, the shipped ones."""
    beside = (folder / name).parent
    own = sorted(path.name for path in beside.glob("*.yaml"))
    short, names = name.removesuffix(".yaml"), list(shipped())
    near = own if name != short else [each.removesuffix(".yaml") for each in own]
    last = [whole for whole in names if whole.endswith(f"/{short}")]
    hint = did_you_mean(Path(name).name, near) or did_you_mean(last[0] if last else short, names)
    lines = [f".{hint}" if beside.is_dir() else f" (nor a folder {beside}).{hint}"]
    if own and not beside.resolve().is_relative_to(SHIPPED):
        lines.append(f"    in {beside}: {', '.join(own)}")
    return "\n".join([*lines, f"    shipped: {', '.join(names)}"])
