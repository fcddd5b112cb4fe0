"""Optuna's samplers, held to what can be built."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, NSGAIIISampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from eos.errors import RecipeError
from search.chooser import AbstractChooser, Accept
from search.recipe import SearchRecipe

#: A value that is refused is drawn again so often by the sampler, then so often evenly; then the default stands.
PROPOSED, EVEN = 4, 40


class Accepted(BaseSampler):
    """Another sampler, whose values are drawn again until the candidate can be built.

    Values that it proposes jointly are taken one by one, each where it is accepted; in place of one that is not,
    the parameter is drawn by itself.

    Arguments:
        sampler: proposes.
        seed: of what is drawn evenly.
    """

    def __init__(self, sampler: BaseSampler, *, seed: int) -> None:
        self.sampler = sampler
        self._even = RandomSampler(seed=seed)
        self.default: Any = None
        self.accept: Accept = lambda value: True
        self._joint: dict[str, Any] = {}

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """That of the sampler."""
        return self.sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing that Optuna would take unseen: what the sampler proposes jointly is kept until it is asked for."""
        self._joint = self.sampler.sample_relative(study, trial, search_space)
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The first value that is accepted."""
        if param_name in self._joint:
            value = self._joint[param_name]
            if param_distribution._contains(param_distribution.to_internal_repr(value)) and self.accept(value):
                return value
        for sampler, draws in ((self.sampler, PROPOSED), (self._even, EVEN)):
            for _ in range(draws):
                value = sampler.sample_independent(study, trial, param_name, param_distribution)
                if self.accept(value):
                    return value
        return self.default

    def reseed_rng(self) -> None:
        """Draw other numbers than a copy of this."""
        self.sampler.reseed_rng()
        self._even.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As the sampler has it."""
        self.sampler.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        """As the sampler has it."""
        self.sampler.after_trial(study, trial, state, values)


class Sampled(AbstractChooser):
    """A trial of a study, whose sampler proposes; what the trial already has stays.

    Arguments:
        trial: running.
        sampler: of its study.
    """

    def __init__(self, trial: Trial, sampler: Accepted) -> None:
        self.trial = trial
        self.sampler = sampler

    def choose(self, name: str, distribution: BaseDistribution, default: Any, accept: Accept) -> Any:
        """What the sampler proposes and the space accepts.

        Raises:
            RecipeError: the trial was given a value that cannot be built.
        """
        self.sampler.default, self.sampler.accept = default, accept
        value = self._suggested(name, distribution)
        if not accept(value):
            raise RecipeError(f"{name} = {value} makes no sense with what else was chosen")
        return value

    def _suggested(self, name: str, distribution: BaseDistribution) -> Any:
        match distribution:
            case CategoricalDistribution():
                return self.trial.suggest_categorical(name, distribution.choices)
            case IntDistribution():
                return self.trial.suggest_int(
                    name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
                )
            case FloatDistribution():
                return self.trial.suggest_float(
                    name, distribution.low, distribution.high, step=distribution.step, log=distribution.log
                )
        raise TypeError(f"{name} has an unknown kind of distribution: {distribution}")


def make_sampler(search: SearchRecipe, trial: int) -> Accepted:
    """The sampler of one trial.

    Its random numbers are decided by the search's seed and the trial's number alone, whoever runs it and after
    whatever stop.
    """
    seed = (search.seed * 1_000_003 + trial) % 2**32
    # What all candidates have (the stages) TPE models jointly, what some have (their options) one by one.
    make: dict[str, Callable[[], BaseSampler]] = {
        "tpe": lambda: TPESampler(seed=seed, n_startup_trials=search.startup, multivariate=True),
        "gp": lambda: GPSampler(seed=seed, n_startup_trials=search.startup, warn_independent_sampling=False),
        "random": lambda: RandomSampler(seed=seed),
        "grid": lambda: RandomSampler(seed=seed),
        "nsga2": lambda: NSGAIISampler(seed=seed),
        "nsga3": lambda: NSGAIIISampler(seed=seed),
    }
    with warnings.catch_warnings():
        # They are chosen knowing that they may change.
        warnings.simplefilter("ignore", ExperimentalWarning)
        return Accepted(make[search.sampler](), seed=seed)
