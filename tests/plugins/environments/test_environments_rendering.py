"""Light listing, the choice of an OpenGL backend, and a quiet end."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from core.api import UserError
from plugins.environments import register_environments, rendering


def test_listing_the_components_is_light():
    code = (
        "import sys; from plugins.environments import register_environments as r; r();"
        "heavy = {'torch', 'mujoco', 'torchrl', 'dm_control', 'gymnasium', 'numpy'};"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert [c.name for c in register_environments()] == ["dm_control", "gymnasium"]


@pytest.fixture
def opengl(monkeypatch):
    """A machine where the backends in the given set work, and dm_control is not imported."""

    def machine(works, wanted=""):
        monkeypatch.setenv("MUJOCO_GL", wanted)
        monkeypatch.delitem(sys.modules, "dm_control._render", raising=False)
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(
            rendering, "_probe", lambda b: (b in works, "soft" if b in works else f"no {b}")
        )

    return machine


@pytest.mark.parametrize(
    ("works", "expected"), [({"egl", "osmesa"}, "EGL on soft"), ({"osmesa"}, "OSMesa on soft")]
)
def test_the_first_backend_that_works_is_taken(opengl, works, expected):
    opengl(works)
    assert str(rendering.choose(required=True)) == expected
    assert os.environ["MUJOCO_GL"] == expected.split()[0].lower()


def test_without_opengl_states_work_and_pixels_name_the_packages(opengl):
    opengl(set())
    assert rendering.choose(required=False) is None
    assert os.environ["MUJOCO_GL"] == "disable"
    with pytest.raises(UserError, match=r"no egl; no osmesa.*libegl1 libgl1-mesa-dri"):
        rendering.choose(required=True)


def test_mujoco_gl_is_honoured(opengl):
    opengl({"egl", "osmesa"}, "osmesa")
    assert str(rendering.choose(required=True)) == "OSMesa on soft"
    opengl({"egl"}, "osmesa")
    with pytest.raises(UserError, match="MUJOCO_GL=osmesa, but no osmesa"):
        rendering.choose(required=False)
    opengl({"egl"}, "egll")
    with pytest.raises(UserError, match="MUJOCO_GL=egll is no backend. Did you mean 'egl'"):
        rendering.choose(required=False)
    opengl({"egl"}, "glfw")
    assert str(rendering.choose(required=False)) == "glfw"
    opengl({"egl"}, "disable")
    assert rendering.choose(required=False) is None
    with pytest.raises(UserError, match="MUJOCO_GL=disable switches rendering off"):
        rendering.choose(required=True)


@pytest.mark.render
def test_the_probe_names_the_renderer_and_reports_failure():
    works, name = rendering._probe(rendering.choose(required=True).backend)
    assert works
    assert name
    works, reason = rendering._probe.__wrapped__("no_such_backend")
    assert not works
    assert reason


@pytest.mark.render
def test_environments_left_open_make_no_noise_at_exit():
    # OSMesa's contexts are freed on a thread of their own: the likelier one to be late
    backend = next((b for b in ("osmesa", "egl") if rendering._probe(b)[0]), None)
    if backend is None:
        pytest.skip("no OpenGL works here")
    code = (
        "from core.api import EnvironmentContext\n"
        "from plugins.environments.dm_control import DMControlEnvironments\n"
        "from plugins.environments.options import DMControlOptions\n"
        "options = DMControlOptions('cheetah-run', pixels=True, rendering='fast')\n"
        "env = DMControlEnvironments(options, EnvironmentContext()).make(2, 0); env.reset()\n"
    )
    # this process's own backend, left behind by PyOpenGL
    inherited = {k: v for k, v in os.environ.items() if k != "PYOPENGL_PLATFORM"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**inherited, "MUJOCO_GL": backend},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Exception" not in done.stderr
