"""``resolved.yaml`` and ``run.json`` of the runs that :mod:`tests.support.recorded` makes up."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LOG_EVERY = 1_000
EVALUATE_EVERY = 10_000
MEASURE_EVERY = 10_000
LAYERS: dict[str, dict[str, tuple[int, ...]]] = {
    "actor": {
        "trunk.input": (64, 24),
        "trunk.blocks.0.expand": (256, 64),
        "trunk.blocks.0.contract": (64, 256),
        "heads.mean": (6, 64),
    },
    "critic": {
        "members.0.trunk.input": (128, 30),
        "members.0.trunk.blocks.0.expand": (512, 128),
        "members.0.trunk.blocks.0.contract": (128, 512),
        "members.0.head": (1, 128),
    },
}


def resolved(
    seed: int, sparsity: float | None, frames: int, diagnostics: bool, reset_every: int | None
) -> dict[str, Any]:
    """The resolved preset, in the order in which a run writes it."""
    batch = {"size": 256, "source": "replay"}
    batched = ("effective_rank", "dormant_ratio", "gradient_norm", "gradient_interference")
    measured = [{"name": n, "every": MEASURE_EVERY, "batch": dict(batch)} for n in batched]
    measured.append({"name": "parameter_norm", "every": MEASURE_EVERY})
    mask = {"name": "erdos_renyi", "sparsity": sparsity, "target": "all", "dense": []}
    reset = {"name": "periodic_reset", "every": reset_every, "modules": ["actor", "critic"]}
    return {
        "frames": frames,
        "name": None,
        "seed": seed,
        "mask_seed": 0,
        "device": "auto",
        "compile": False,
        "threads": None,
        "log_every": LOG_EVERY,
        "record_video": False,
        "collect": {"steps": 1, "random_frames": None},
        "evaluation": {"every": EVALUATE_EVERY, "episodes": 5, "final_episodes": 10},
        "checkpoint": {"every": 100_000},
        "environment": {
            "name": "dm_control",
            "task": "walker-walk",
            "pixels": False,
            "action_repeat": 2,
            "time_limit": None,
            "count": 1,
        },
        "network": {
            "name": "simba",
            "actor": {"width": 64, "blocks": 1},
            "critic": {"width": 128, "blocks": 1},
        },
        "loss": {"name": "sac", "gamma": 0.99, "tau": 0.005, "critics": 1},
        "optimizer": {"name": "adamw", "lr": 1e-3, "betas": [0.9, 0.999], "weight_decay": 0.01},
        "data": {"name": "replay", "capacity": 100_000, "batch_size": 128},
        "execution": {"name": "masked", "native": True},
        "masks": [] if sparsity is None else [mask],
        "diagnostics": measured if diagnostics else [],
        "interventions": [] if reset_every is None else [reset],
        "loggers": [],
    }


def record_of(
    directory: Path, config: dict[str, Any], sparsity: float | None, changes: Mapping[str, Any]
) -> dict[str, Any]:
    """``run.json`` as it is before the first frame."""
    preset = "presets/quickstart.yaml"
    words = [f"{key}={json.dumps(value)}" for key, value in changes.items()]
    if sparsity is None:
        words.append("masks=[]")
    words.append(f"seed={config['seed']}")
    set_by = {"environment.name": f"{preset}:8", "environment.task": f"{preset}:9"}
    set_by |= {"network.name": f"{preset}:13", "loss.name": "presets/base/sac.yaml:4"}
    set_by |= {"loss.gamma": "presets/base/sac.yaml:5", "optimizer.lr": f"{preset}:22"}
    set_by["masks" if sparsity is None else "masks.0.sparsity"] = (
        "command line" if sparsity is None else f"{preset}:18"
    )
    set_by |= {word.partition("=")[0]: "command line" for word in words}
    sources = {"environment": "environments", "network": "networks", "loss": "losses"}
    sources |= {"optimizer": "optimizers", "data": "data", "execution": "execution"}
    placed = [(key, config[key], kind) for key, kind in sources.items()]
    for key in ("masks", "diagnostics", "interventions"):
        placed += [(f"{key}.{i}", node, key) for i, node in enumerate(config[key])]
    return {
        "id": directory.name,
        "name": "quickstart",
        "openwork": "0.1.0",
        "started": "2026-01-02T03:04:05+00:00",
        "command": ["core/run.py", preset, *words, "--run-dir", f"runs/{directory.name}"],
        "presets": {preset: "31ab608f" * 8, "presets/base/sac.yaml": "172faae2" * 8},
        "seed": config["seed"],
        "mask_seed": config["mask_seed"],
        "components": [_component(key, node, kind) for key, node, kind in placed],
        "plugins": [_provider(kind) for kind in dict.fromkeys(kind for _, _, kind in placed)],
        "broken_plugins": [],
        "without": [],
        "set_by": set_by,
        "summary": {
            "environment": "dm_control walker-walk, states of 24, dm_control 1.0.50",
            "device": "cpu",
        },
        "densities": {role: _densities(role, sparsity) for role in LAYERS},
        "execution": {"backend": "masked", "layers": {}, "index_bytes": 0},
        "git": {"commit": "935f51d0c0ffee00935f51d0c0ffee00935f51d0", "dirty": False},
        "packages": {"numpy": "2.4.6", "torch": "2.13.0"},
        "host": {
            "platform": "Linux-6.1-x86_64",
            "python": "3.11.7",
            "cores": 2,
            "threads": 1,
            "cpu": "AVX2",
            "gpus": [],
        },
    }


def _provider(kind: str) -> dict[str, str]:
    return {"distribution": "openwork", "version": "0.1.0", "source": f"plugins.{kind}"}


def _component(key: str, node: Mapping[str, Any], kind: str) -> dict[str, Any]:
    options = {name: value for name, value in node.items() if name != "name"}
    return {"at": key, "name": node["name"], "provider": _provider(kind), "options": options}


def _densities(role: str, sparsity: float | None) -> dict[str, Any]:
    """As ``core.cli.run`` records them: weights only."""

    def density(shape: tuple[int, ...]) -> float:
        if sparsity is None:
            return 1.0
        fans = sum(shape) / math.prod(shape)  # Erdos-Renyi: denser where the layer is small
        return min(1.0, (1 - sparsity) * (0.7 + 12 * fans))

    return {
        f"{name}.weight": {"shape": list(shape), "density": density(shape)}
        for name, shape in LAYERS[role].items()
    }


def set_key(config: Any, key: str, value: Any) -> None:
    *above, last = key.split(".")
    for part in above:
        config = config[int(part)] if isinstance(config, list) else config.setdefault(part, {})
    config[int(last) if isinstance(config, list) else last] = value
