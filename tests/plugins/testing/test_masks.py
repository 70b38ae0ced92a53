"""The built-in pruning schemes, by the suite that third parties use."""

from __future__ import annotations

from typing import ClassVar

from plugins.testing import MaskSuite
from tests.plugins.testing.complete import all_have_a_class


class OfCommonCode(MaskSuite):
    """A scheme that never looks at weights: what it draws is drawn and saved by common code."""

    test_goes_on_alike_in_a_new_process = None
    test_masks_are_the_same_whatever_the_execution = None


OUT_OF_RANGE = ({"sparsity": 1.0}, {"sparsity": -0.1}, {"target": ""})


class TestErdosRenyi(MaskSuite):
    component = "erdos_renyi"
    options: ClassVar = {"sparsity": 0.6}
    refused = OUT_OF_RANGE


class TestUniform(OfCommonCode):
    component = "uniform"
    options: ClassVar = {"sparsity": 0.75, "counted": "kernels"}
    refused = OUT_OF_RANGE


class TestUniformByCoins(OfCommonCode):
    component = "openwork:uniform"
    options: ClassVar = {"sparsity": 0.5, "draw": "bernoulli", "target": "critic"}
    capabilities: ClassVar = {"exact": False}


class TestEncoderAlone(OfCommonCode):
    component = "erdos_renyi"
    options: ClassVar = {"sparsity": 0.5, "target": "encoder"}


class TestNone(OfCommonCode):
    component = "none"
    refused = ({"target": ""},)
    capabilities: ClassVar = {"random": False, "prunes": False}


class TestMagnitude(OfCommonCode):
    component = "magnitude"
    options: ClassVar = {"sparsity": 0.7}
    refused = (*OUT_OF_RANGE, {"at": -1})
    capabilities: ClassVar = {"random": False}


class TestMagnitudeInTraining(MaskSuite):
    test_goes_on_alike_in_a_new_process = None
    component = "magnitude"
    options: ClassVar = {"sparsity": 0.7, "at": 500, "distribution": "global"}
    capabilities: ClassVar = {"random": False}


class TestSnip(MaskSuite):
    test_goes_on_alike_in_a_new_process = None  # RigL's is saved by the same code
    component = "snip"
    options: ClassVar = {"sparsity": 0.8, "batch": {"size": 32}}
    refused = (*OUT_OF_RANGE, {"batch": {"size": 0}})
    capabilities: ClassVar = {"random": False}


class TestNM(OfCommonCode):
    component = "nm"
    options: ClassVar = {"n": 2, "m": 4}
    refused = ({"n": 4}, {"n": 0}, {"m": 1}, {"target": ""})


class TestBlock(OfCommonCode):
    component = "block"
    options: ClassVar = {"sparsity": 0.5, "side": 4}
    refused = (*OUT_OF_RANGE, {"side": 1})
    capabilities: ClassVar = {"exact": False}  # whole blocks


class TestSmallWorld(OfCommonCode):
    component = "small_world"
    options: ClassVar = {"sparsity": 0.6}
    refused = (*OUT_OF_RANGE, {"rewiring": 1.5})


CHANGING = (*OUT_OF_RANGE, {"every": 0}, {"begin": -1}, {"begin": 500, "end": 400})


class TestSET(MaskSuite):
    test_goes_on_alike_in_a_new_process = None  # RigL's is saved by the same code
    component = "set"
    options: ClassVar = {"sparsity": 0.6, "every": 100}
    refused = (*CHANGING, {"drop_fraction": 0.0})
    keeps_count = True


class TestRigL(MaskSuite):
    component = "rigl"
    options: ClassVar = {"sparsity": 0.6, "every": 200, "batch": {"size": 32}}
    refused = (*CHANGING, {"drop_fraction": 1.5})
    keeps_count = True


class TestGMP(MaskSuite):
    test_goes_on_alike_in_a_new_process = None  # RigL's is saved by the same code
    component = "gmp"
    options: ClassVar = {"sparsity": 0.6, "every": 100, "counted": "kernels"}
    refused = CHANGING
    capabilities: ClassVar = {"random": False}

    def test_grows_sparser(self):
        history = self.trial("replay").history
        kept = [sum(m.kept(n) for m in masks.values() for n in m) for masks in history if masks]
        assert kept == sorted(kept, reverse=True)
        assert kept[-1] < kept[len(kept) // 2]


def test_every_scheme_has_a_class():
    all_have_a_class("masks", globals())
