"""Heatmaps of ``interference``, bars of ``densities`` and ``time``, and how figures load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex

from core.api import colour
from plugins.figures.interference import chosen
from tests.plugins.figures.figure_studies import assert_legible, draw, run, study

NAME = "gradient_interference/critic"


# --- gradient matrices ------------------------------------------------------------------


def similarities(seed, size=6):
    rows = np.random.default_rng(seed).normal(size=(size, 3))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows @ rows.T).astype(np.float32)


def saved(folder: Path, frames, size=6, name=NAME):
    found = {}
    for frame in frames:
        found[frame] = folder / f"{frame}.npy"
        folder.mkdir(exist_ok=True)
        np.save(found[frame], similarities(frame, size))
    return {name: found}


def meshes(picture):
    """By title, of the axes that hold one."""
    found = {}
    for axes in picture.figure.axes:
        for mesh in axes.collections:
            if isinstance(mesh, QuadMesh) and axes.get_label() != "<colorbar>":
                found.setdefault(axes.get_title(loc="left"), []).append(mesh)
    return found


def test_heatmaps_are_the_matrices_on_one_scale_from_minus_one_to_one(tmp_path):
    first = run("a-s0", matrices=saved(tmp_path / "a", [500, 20_000]))
    second = run("a-s1", matrices=saved(tmp_path / "b", [777]))
    other = run("c", matrices=saved(tmp_path / "c", [1_000_000], size=4))
    shown = study([run("none"), first, second], [other], [run("bare")], labels=["x", "y", "z"])
    (picture,) = draw("interference", shown)
    found = meshes(picture)
    assert list(found) == ["frame 500", "frame 20k", "frame 1.0M"]  # a group's first run
    for title, seed, size in (("frame 500", 500, 6), ("frame 1.0M", 1_000_000, 4)):
        (mesh,) = found[title]
        assert np.array_equal(mesh.get_array(), similarities(seed, size))
        assert (mesh.norm.vmin, mesh.norm.vmax) == (-1, 1)
        x, y = mesh.axes.transData.transform([(0, 0), (1, 1)]).T
        assert y[0] > y[1]  # the first row is at the top
        assert x[0] < x[1]
    labels = [axes.get_ylabel() for axes in picture.figure.axes]
    assert labels == ["x\nsample", "sample", "y\nsample", "cosine similarity"]
    assert_legible(picture)


def test_at_most_five_frames_from_the_first_to_the_last():
    files = {frame: Path() for frame in range(100, 1300, 100)}
    assert chosen(files) == [100, 400, 700, 900, 1200]
    assert chosen({3: Path(), 1: Path()}) == [1, 3]
    assert chosen({7: Path()}) == [7]


@pytest.mark.parametrize("content", [b"", b"no array", b"\x93NUMPY\x01\x00v\x00{'descr'"])
def test_a_damaged_matrix_is_said_to_be_and_the_others_are_drawn(tmp_path, content):
    matrices = saved(tmp_path, [100, 200])
    matrices[NAME][100].write_bytes(content)
    np.save(tmp_path / "300.npy", np.zeros(5))
    (tmp_path / "here").mkdir()
    matrices[NAME] |= {300: tmp_path / "300.npy", 400: tmp_path / "gone.npy"}
    (picture,) = draw("interference", study([run(matrices=matrices)]))
    said = [text.get_text() for axes in picture.figure.axes for text in axes.texts]
    assert said == ["file damaged"] * 3
    assert list(meshes(picture)) == ["frame 200"]
    assert_legible(picture)


def test_without_one_whole_matrix_the_picture_says_so(tmp_path):
    (picture,) = draw("interference", study([run(matrices={NAME: {5: tmp_path / "gone.npy"}})]))
    assert [a.texts[0].get_text() for a in picture.figure.axes] == ["file damaged"]
    assert_legible(picture)


def test_numbers_that_are_not_finite_are_left_grey(tmp_path):
    matrices = saved(tmp_path, [100])
    matrix = similarities(100)
    matrix[2, 3] = np.nan
    np.save(matrices[NAME][100], matrix)
    (picture,) = draw("interference", study([run(matrices=matrices)]))
    ((mesh,),) = meshes(picture).values()
    assert np.ma.getmaskarray(mesh.get_array()).nonzero() == ([2], [3])
    assert to_hex(mesh.cmap.get_bad()) == "#dddddd"


def test_phases_have_pictures_of_their_own_and_other_matrices_none(tmp_path):
    actor = saved(tmp_path / "a", [1], name="gradient_interference/actor")
    both = saved(tmp_path / "c", [1]) | actor | saved(tmp_path / "o", [1], name="mine/covariance")
    found = [picture.name for picture in draw("interference", study([run(matrices=both)]))]
    assert found == ["interference-critic", "interference-actor"]
    assert draw("interference", study([run(matrices={NAME: {}})])) == []


# --- densities --------------------------------------------------------------------------


def pruned(name, actor=None, **layers):
    roles = {"actor": actor or {}, "critic": layers}
    told = {
        role: {f"{k}.weight": {"shape": [8, 4], "density": d} for k, d in found.items()}
        for role, found in roles.items()
        if found
    }
    return run(name, record={"densities": told})


def bars_of(axes):
    """``{(layer, colour): width}``: the label that is nearest to each bar."""
    centres, names = axes.get_yticks(), [label.get_text() for label in axes.get_yticklabels()]
    found = {}
    for bar in axes.patches:
        middle = bar.get_y() + bar.get_height() / 2
        layer = names[int(np.abs(centres - middle).argmin())].split("  ")[0]
        found[layer, to_hex(bar.get_facecolor())] = bar.get_width()
    return found


def test_densities_are_bars_by_layer_and_groups_alike_are_one():
    dense, sparse = {"input": 1, "head": 1}, {"input": 0.25, "head": 1}
    shown = study(
        [pruned("a", **dense)],
        [run("lost"), pruned("b", **sparse)],
        [pruned("c", **sparse)],
        labels=["dense", "sparse", "sparse again"],
    )
    (picture,) = draw("densities", shown)
    (axes,) = picture.figure.axes
    blue, orange = colour(0).lower(), colour(1).lower()
    assert bars_of(axes) == {
        ("input", blue): 1,
        ("head", blue): 1,
        ("input", orange): 0.25,
        ("head", orange): 1,
    }
    written = [text.get_text() for text in axes.texts]
    assert written == ["1", "1", "0.25", "1"]
    assert axes.get_yticklabels()[0].get_text() == "input  (8 × 4)"
    labels = [text.get_text() for text in picture.figure.legends[0].get_texts()]
    assert labels == ["dense", "sparse, sparse again"]
    assert_legible(picture)


def test_networks_of_other_depth_stand_side_by_side():
    deep = pruned("b", {"mean": 0.5}, input=0.2, block=0.1, head=1)
    (picture,) = draw("densities", study([pruned("a", input=0.3, head=1)], [deep]))
    by_title = {axes.get_title(loc="left"): axes for axes in picture.figure.axes}
    assert sorted(by_title) == ["actor", "critic"]
    layers = [label.get_text().split("  ")[0] for label in by_title["critic"].get_yticklabels()]
    assert layers == ["input", "block", "head"]
    assert len(bars_of(by_title["critic"])) == 5
    actor = by_title["actor"]
    assert bars_of(actor) == {("mean", colour(1).lower()): 0.5}
    (bar,) = actor.patches
    assert bar.get_y() + bar.get_height() / 2 == pytest.approx(actor.get_yticks()[0])
    assert_legible(picture)


@pytest.mark.parametrize(
    "densities",
    [
        None,
        [],
        {"actor": None},
        {"actor": {"a.weight": 3}},
        {"actor": {"a.weight": {"shape": [2, 2], "density": "much"}}},
        {"actor": {"a.weight": {"shape": None, "density": 0.5}}},
        {"actor": {"a.weight": {"shape": [2, 2], "density": 1.0}}},
    ],
)
def test_dense_and_damaged_runs_have_no_densities(densities):
    assert draw("densities", study([run(record={"densities": densities})])) == []


# --- time -------------------------------------------------------------------------------


def test_costs_are_shares_of_the_whole_wall_time():
    metrics = {
        "time/elapsed": ([100, 200, 300], [10, 20, 60]),
        "time/evaluation": ([100, 200, 300], [4, 4, 20]),  # the last after the last elapsed
        "time/diagnostics/churn": ([150, 300, 350], [1, 1, 20]),
    }
    half = metrics | {"time/evaluation": ([100], [10])}
    other = {"time/elapsed": ([100], [10]), "time/diagnostics/churn": ([50], [1])}
    shown = study([run("a", metrics), run("b", half)], [run("c", other)], [run("d")])
    (picture,) = draw("time", shown)
    (axes,) = picture.figure.axes
    blue, orange = colour(0).lower(), colour(1).lower()
    assert bars_of(axes) == {
        ("evaluation", blue): pytest.approx((28 / 100 + 10 / 80) / 2),
        ("churn", blue): pytest.approx((22 / 100 + 22 / 80) / 2),
        ("churn", orange): pytest.approx(0.1),
    }
    assert_legible(picture)


@pytest.mark.parametrize(
    "metrics",
    [
        {"time/evaluation": ([1], [2])},
        {"time/elapsed": ([1], [2])},
        {"time/elapsed": ([1], [float("nan")]), "time/evaluation": ([1], [2])},
        {"time/elapsed": ([1], [0]), "time/evaluation": ([0], [0])},
    ],
)
def test_without_the_whole_there_is_no_share(metrics):
    assert draw("time", study([run(metrics=metrics)])) == []


# --- how they load ----------------------------------------------------------------------


def test_figures_leave_matplotlib_and_its_global_state_alone():
    script = """
import sys
from plugins.figures import register_figures
components = register_figures()
assert not {"matplotlib", "torch", "numpy"} & set(sys.modules)
from core.api import FigureContext, Study
for component in components:
    list(component.build(component.options(), FigureContext()).draw(Study(())))
assert "matplotlib.pyplot" not in sys.modules
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


def test_every_figure_is_registered(plugins):
    names = {component.name for component in plugins.components("figures")}
    wanted = {"returns", "losses", "diagnostics", "interference", "densities", "time"}
    assert wanted <= names
