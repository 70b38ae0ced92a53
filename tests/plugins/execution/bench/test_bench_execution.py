"""``python -m core bench-execution``: what it prints, and what it refuses."""

from __future__ import annotations

import json

import pytest
import torch

from core.cli import main
from plugins.execution.auto import machine
from plugins.execution.auto.rule import LayerShape
from plugins.execution.bench import measure as benching
from plugins.execution.bench.measure import BLOCKS, DENSE, DENSIFIED, MEDIUM, PRODUCT, SPARSE
from plugins.execution.linear import native_product

TINY = [
    "bench-execution",
    "--widths",
    "32",
    "--sparsity",
    "0.8",
    "--batch",
    "8",
    "--seconds",
    "0.05",
]


@pytest.fixture
def bare(monkeypatch):
    """A machine without matrix units."""
    monkeypatch.setattr(machine, "matrix_units", lambda: False)


needs_kernels = pytest.mark.skipif(
    native_product.available() is not None, reason="no compiled kernels"
)


def lines(capsys, *arguments):
    assert main([*TINY, *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    return found, {(line["width"], line["sparsity"], line["form"]): line for line in found["lines"]}


@needs_kernels
def test_every_form_of_every_width_and_sparsity_is_measured(bare, capsys):
    found, by_form = lines(capsys, "--widths", "32", "64", "--sparsity", "0.5", "0.9", "--blocks")
    assert set(by_form) == {
        *((width, None, form) for width in (32, 64) for form in (DENSE, PRODUCT)),
        *(
            (width, sparsity, form)
            for width in (32, 64)
            for sparsity in (0.5, 0.9)
            for form in (SPARSE, BLOCKS, DENSIFIED)
        ),
    }
    assert found["batch"] == 8
    assert found["machine"]["threads"] == 1
    assert found["machine"]["cpu"]
    for line in by_form.values():
        assert line["seconds"] > 0
        low, middle, high = line["than_dense"]
        assert 0 < low <= middle <= high
        assert (line["choice"] is not None) == (line["form"] in (SPARSE, BLOCKS))
    assert by_form[32, None, DENSE]["than_dense"] == [1.0, 1.0, 1.0]
    assert by_form[32, None, PRODUCT]["than_product"] == [1.0, 1.0, 1.0]
    assert by_form[32, 0.5, SPARSE]["choice"]["form"] == "masked"
    assert "32 is below 64" in by_form[32, 0.5, SPARSE]["choice"]["reason"]


@needs_kernels
def test_the_table_for_people_has_the_machine_the_ratios_and_the_choices(bare, capsys):
    assert main(TINY) == 0
    out = capsys.readouterr().out
    assert machine.cpu_model() in out
    assert torch.backends.cpu.get_cpu_capability() in out
    assert "1 thread," in out
    assert "batch 8" in out
    assert "width 32" in out
    for form in (DENSE, PRODUCT, SPARSE, DENSIFIED):
        assert f" {form} " in out
    assert "…" not in out
    assert "width 32, sparsity 0.8, sparse: masked; width 32 is below 64" in out


def test_without_kernels_what_can_be_is_measured(bare, capsys, monkeypatch):
    monkeypatch.setattr(native_product, "available", lambda: "were not built")
    found, by_form = lines(capsys)
    assert found["machine"]["kernels"] == "were not built"
    assert {form for _, _, form in by_form} == {DENSE, PRODUCT, DENSIFIED}
    assert main(TINY) == 0
    assert "compiled kernels: were not built" in capsys.readouterr().out


def test_where_there_are_matrix_units_bfloat16_is_measured_and_put_back(capsys, monkeypatch):
    seen = []
    real = benching._pass

    def watched(*arguments, **named):
        seen.append(torch.get_float32_matmul_precision())
        real(*arguments, **named)

    monkeypatch.setattr(benching, "_pass", watched)
    monkeypatch.setattr(machine, "matrix_units", lambda: True)
    _, by_form = lines(capsys)
    assert (32, None, MEDIUM) in by_form
    assert {"medium", "highest"} == set(seen)
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_number_of_threads_is_put_back(bare, capsys):
    before = torch.get_num_threads()
    found, _ = lines(capsys, "--threads", "2")
    assert found["machine"]["threads"] == 2
    assert torch.get_num_threads() == before


@needs_kernels
@torch.no_grad()
def test_all_forms_of_the_block_are_one_function():
    generator = torch.Generator().manual_seed(0)
    block = benching._block(32)
    masks = benching._masks(32, 0.8, generator)
    for name, mask in masks.items():
        block.get_parameter(name).masked_fill_(~mask, 0.0)
    x = torch.randn(8, 32, generator=generator)
    want = benching._forward(block, x)
    products = [benching._compact(block, masks, product) for product in ("native", "densified")]
    for other in (benching._multiplied(block, masks), *products):
        assert torch.allclose(benching._forward(other, x), want, atol=1e-5)


@pytest.mark.parametrize("blocks", [False, True])
def test_masks_are_of_the_density_and_of_whole_blocks_if_asked(blocks):
    shape = LayerShape(64, 160, 0.3, blocks)
    mask = benching._draw(shape, torch.Generator().manual_seed(0))
    assert mask.shape == (64, 160)
    assert mask.count_nonzero().item() / mask.numel() == pytest.approx(0.3, abs=1e-6)
    whole = mask.view(4, 16, 10, 16).sum((1, 3))
    assert bool(((whole == 0) | (whole == 256)).all()) is blocks


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--widths", "100"], "--widths must be multiples of 16 in [16, 8192], got 100"),
        (["--widths", "0"], "--widths must be"),
        (["--widths", "16384"], "--widths must be"),
        (["--sparsity", "0"], "--sparsity must be in (0, 1), got 0.0"),
        (["--sparsity", "1"], "--sparsity must be in (0, 1), got 1.0"),
        (["--sparsity", "nan"], "--sparsity must be in (0, 1), got nan"),
        (["--sparsity", "0.5", "-1"], "--sparsity must be in (0, 1), got -1.0"),
        (["--batch", "1"], "--batch must be in [2, 65536], got 1"),
        (["--threads", "0"], "--threads must be in [1, 1024], got 0"),
        (["--seconds", "0"], "--seconds must be in (0, 3600], got 0.0"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(capsys, arguments, message):
    assert main([*TINY, *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith(message)
    assert said.err.count("\n") == 1
    assert said.out == ""


@pytest.mark.parametrize("arguments", [["--widths", "wide"], ["--sparsity"], ["--depth", "3"]])
def test_what_does_not_parse_is_refused_with_exit_code_2(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main([*TINY, *arguments])
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err
