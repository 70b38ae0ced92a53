"""The plugin host: finds plugins, checks them, says what they offer, and whose an error is."""

from core.plugins.manager import Plugins as Plugins
from core.plugins.manager import load_plugins as load_plugins
from core.plugins.validation import Broken as Broken
from core.plugins.validation import check_hooks as check_hooks
