"""Samplers propose what can be built, the same whoever asks."""

import random
import time
import warnings
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from eos.compose import refuse
from search.sampler import Sampled, make_sampler
from search.space import Candidate, Space

Spaces = Callable[..., Space]
NAMES = ("tpe", "random", "gp", "nsga2", "nsga3")


def proposed(space: Space, trials: int, *, seed: int = 0) -> tuple[list[Candidate], optuna.Study]:
    """Candidates of a study whose values are drawn; with several objectives for the genetic samplers."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    several = len(space.search.objectives)
    study = optuna.create_study(directions=["maximize"] * several)
    draw, found = random.Random(seed), []
    for number in range(trials):
        study.sampler = sampler = make_sampler(space.search, number)
        trial = study.ask()
        candidate = space.compose(Sampled(trial, sampler))
        assert candidate.params == trial.params
        found.append(candidate)
        study.tell(trial, [draw.random() for _ in range(several)])
    return found, study


def said(name: str, **search: Any) -> dict[str, Any]:
    objectives = ["quality", "state"] if name.startswith("nsga") else ["quality"]
    return {"sampler": name, "objectives": objectives, "startup": 5, **search}


@pytest.mark.parametrize("name", NAMES)
def test_no_proposal_is_refused(space_of: Spaces, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, _ = proposed(space_of(**said(name, options="choices")), 12)
    assert all(refuse(candidate.recipe.model) is None for candidate in found)
    assert len({tuple(candidate.params.items()) for candidate in found}) > 8


def test_proposals_do_not_depend_on_who_asks(space_of: Spaces) -> None:
    space = space_of(**said("random"))
    once, _ = proposed(space, 6)
    again, _ = proposed(space_of(**said("random")), 6)
    assert [candidate.params for candidate in once] == [candidate.params for candidate in again]
    other, _ = proposed(space_of(**said("random", seed=2)), 6)
    assert [candidate.params for candidate in once] != [candidate.params for candidate in other]


def test_tpe_comes_back_to_what_was_good(space_of: Spaces) -> None:
    """With linear good and all else bad, four in ten are linear, of fourteen stages (random: one in fourteen)."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = space_of(**said("tpe", options="none"))
    study = optuna.create_study(direction="maximize")
    expands = []
    for number in range(60):
        study.sampler = sampler = make_sampler(space.search, number)
        trial = study.ask()
        candidate = space.compose(Sampled(trial, sampler))
        expands.append(candidate.params["expand"])
        study.tell(trial, float(expands[-1] == "linear"))
    assert expands[20:].count("linear") >= 16


@pytest.mark.alone
def test_three_hundred_proposals_of_the_whole_space_take_at_most_a_minute(space_of: Spaces) -> None:
    space = space_of(sampler="tpe")
    began = time.process_time()
    proposed(space, 300)
    assert time.process_time() - began <= 60
