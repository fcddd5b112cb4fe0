"""Small spaces of networks for a language-like task, a classifier and a translation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from eos.cli.recipes import load_run_recipe
from eos.compose.check import check
from eos.training.run import make_task
from search.nas.recipe import NASRecipe
from search.nas.space import Space
from search.space import Recipe

#: A base run, and what is chosen in its space.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "causal": (
        "task=overwriting pairs=2 epoch=64 held_out=8 model=llama layers=1 width=16 tied=false rows=4 device=cpu",
        {
            "mixers": {
                "softmax": "llama",
                "window": "llama window=3",
                "cosformer": "cosformer",
                "gla": "gla",
                "hgrn2": "hgrn2",
                "delta": "gated_deltanet",
                "mamba2": "mamba2",
                "tnl": "tnl layout=[main]",
                "slots": "gsa",
                "hyena": "hyena",
            },
            "width": [16, 32],
            "depth": [1, 2, 3],
            "heads": [2, 4],
            "key_sizes": [4, 8],
            "ratios": [0, 1, 2],
        },
    ),
    "classifier": (
        "task=digits model=lightnet layers=1 width=16 rows=4 device=cpu",
        {
            "mixers": {"softmax": "llama direction=all", "gla": "gla direction=both", "hgrn2": "hgrn2"},
            "width": [16, 24],
            "depth": [1, 2],
            "heads": [2, 4],
            "ratios": [1, 2],
        },
    ),
    "translation": (
        "task=translation model=gla layers=1 width=16 rows=4 device=cpu",
        {
            "mixers": {"softmax": "llama", "gla": "gla", "hgrn2": "hgrn2"},
            "width": [16, 32],
            "depth": [1, 2],
            "encoder_depth": [2, 3],
            "heads": [2, 4],
            "key_sizes": [4, 8],
        },
    ),
}


@pytest.fixture(scope="session")
def spaces(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Space, Recipe]]:
    """The space of a case, with changes, and its base run; every case's data are made once."""
    tasks: dict[str, Any] = {}

    def make(case: str, **changes: Any) -> tuple[Space, Recipe]:
        words, chosen = CASES[case]
        base = load_run_recipe(words.split())
        if case not in tasks:
            tasks[case] = make_task(base)
            tasks[case].prepare(tmp_path_factory.mktemp(case))
        nas = check(NASRecipe, {"kind": "nas", **chosen, **changes}, source="the test")
        return Space(nas=nas, model=replace(base.model, mixers=base.model.mixers), task=tasks[case]), base

    return make
