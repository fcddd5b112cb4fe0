"""Gradient-boosted trees that say from a network's numbers how good or how fast it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, pearsonr

from eos.errors import RecipeError, install
from eos.training.files import replacing

if TYPE_CHECKING:
    from lightgbm import Booster

Floats = NDArray[np.float64]
#: Shares of the networks that are learned from, that say when to stop, and that are kept apart.
SHARES = (0.8, 0.1, 0.1)
#: Least number of networks: some on each side of every cut.
FEWEST = 20
OPTIONS = {
    "objective": "regression",
    "max_depth": 6,
    "num_leaves": 30,
    "learning_rate": 0.1,
    "min_data_in_leaf": 5,
    "verbosity": -1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
}
ROUNDS, PATIENCE = 1000, 5


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """How well networks are ranked that were not learned from.

    Arguments:
        places: which they were, counted from 0.
        tau: Kendall's τ of predictions and truth.
        pearson: their correlation.
        rmse: root of the mean squared error.
        slope, intercept: of truth on predictions by least squares; 1 and 0 where predictions are calibrated.
    """

    places: list[int]
    tau: float
    pearson: float
    rmse: float
    slope: float
    intercept: float


class Ranker:
    """Predicts one number of networks.

    Arguments:
        booster: the trees.
    """

    def __init__(self, booster: "Booster") -> None:
        self._booster = booster

    @classmethod
    def read(cls, path: Path) -> "Ranker":
        """From a file that :meth:`write` made."""
        return cls(_lightgbm().Booster(model_file=str(path)))

    def write(self, path: Path) -> None:
        """As text: numbers alone, which run no code."""
        with replacing(path) as temporary:
            self._booster.save_model(str(temporary))

    def __call__(self, features: Floats) -> Floats:
        """What is predicted [N] of networks with these numbers [N,F]."""
        predicted: Floats = np.asarray(self._booster.predict(features))
        return predicted


def learn(features: Floats, truth: Floats, *, seed: int) -> tuple[Ranker, HeldOut]:
    """A ranker of networks with these numbers [N,F], and how it ranks a tenth of them that it never saw.

    Source: arXiv:2207.13955 and its code (LightGBM of depth 6, 30 leaves, rate 0.1, 80/10/10)

    Raises:
        RecipeError: fewer than 20 networks, or no lightgbm.
    """
    if len(truth) < FEWEST:
        raise RecipeError(f"{len(truth)} scored networks are too few to learn from: at least {FEWEST}, better 1,000")
    lightgbm = _lightgbm()
    order = np.random.default_rng(seed).permutation(len(truth))
    train, stop, held = np.split(order, [round(SHARES[0] * len(truth)), round(sum(SHARES[:2]) * len(truth))])
    data = lightgbm.Dataset(features[train], truth[train])
    booster = lightgbm.train(
        {**OPTIONS, "seed": seed},
        data,
        num_boost_round=ROUNDS,
        valid_sets=[lightgbm.Dataset(features[stop], truth[stop], reference=data)],
        callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
    )
    ranker = Ranker(booster)
    return ranker, judge(ranker(features[held]), truth[held], places=held.tolist())


def judge(predicted: Floats, truth: Floats, *, places: list[int]) -> HeldOut:
    """How predictions [N] stand to the truth [N] of the networks at these places."""
    slope, intercept = np.polyfit(predicted, truth, 1) if np.ptp(predicted) > 0 else (float("nan"), float("nan"))
    return HeldOut(
        places=places,
        tau=float(kendalltau(predicted, truth).statistic),
        pearson=float(pearsonr(predicted, truth).statistic) if np.ptp(predicted) > 0 else float("nan"),
        rmse=float(np.sqrt(np.mean((predicted - truth) ** 2))),
        slope=float(slope),
        intercept=float(intercept),
    )


def _lightgbm() -> Any:
    try:
        import lightgbm
    except ImportError as error:
        raise RecipeError(f"rankers are made of trees by the package lightgbm: {install('nas')}") from error
    return lightgbm
