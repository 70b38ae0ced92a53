"""What the built-in diagnostics need of the rest of a preset."""

from __future__ import annotations

from core.api import BatchOptions
from plugins.diagnostics import register_diagnostics

NEEDS = {
    "effective_rank": {"inspection", "features"},
    "feature_norm": {"inspection", "features"},
    "dormant_ratio": {"inspection"},
    "active_units": {"inspection"},
    "gradient_norm": {"inspection"},
    "gradient_interference": {"inspection"},
    "churn": {"inspection"},
}
"""Of those that look at a batch."""


def test_needs_follow_the_batch():
    for component in register_diagnostics():
        if component.name in NEEDS:
            for source, more in (("recent", set()), ("replay", {"replay"})):
                options = component.options(batch=BatchOptions(source))
                assert component.needs(options) == NEEDS[component.name] | more
            assert "recent" in component.instead["replay"]
        else:
            played = component.name in {"q_bias", "simplicity_bias"}
            assert component.needs == ({"inspection"} if played else set())
