"""Presets: load (files, lines, extends, overrides), check (names, types, ranges), resolve."""

from core.config.arguments import add_preset_arguments as add_preset_arguments
from core.config.arguments import read_plugins as read_plugins
from core.config.arguments import read_presets as read_presets
from core.config.arguments import report_broken as report_broken
from core.config.load import Loaded as Loaded
from core.config.load import load as load
from core.config.resolve import Incomplete as Incomplete
from core.config.resolve import RunConfig as RunConfig
from core.config.resolve import resolve as resolve
from core.config.selection import Selection as Selection
