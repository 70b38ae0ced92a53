"""Values as a preset would write them."""

from __future__ import annotations

from typing import Any

import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from plugins.commands.yaml_text import as_yaml

ODD = ["off", "1e5", "é", "null", "", "${x}", "\\${x}", "a\\\\${b}", "# no"]


@settings(max_examples=25)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner, max_size=3),
        max_leaves=5,
    )
)
@example(ODD)
@example([1e16, 1e-7, -2e300, 12_345])
def test_values_are_written_so_that_they_are_read_again(value: Any) -> None:
    written = f"v: {as_yaml(value)}"
    read = OmegaConf.to_container(OmegaConf.create(written), resolve=True)
    assert repr(read) == repr({"v": value})
    if "${" not in written:
        assert repr(yaml.safe_load(written)) == repr({"v": value})
