"""What a benchmark reports, and where the suites are."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Check:
    """One measured number and the bound it is held to.

    Arguments:
        name: what was measured, with sizes.
        value: the number, or None where it was not measured.
        bound: the limit, or None for a number that is only reported.
        unit: unit of both, or × for a ratio.
        side: whether the number must be at least or at most the bound.
        detail: what the number was made of.
    """

    name: str
    value: float | None
    bound: float | None = None
    unit: str = "×"
    side: Literal["at least", "at most"] = "at least"
    detail: str = ""

    @property
    def met(self) -> bool:
        """Whether the bound is kept; a number that is only reported, or not measured, always is."""
        if self.bound is None or self.value is None:
            return True
        return self.value >= self.bound if self.side == "at least" else self.value <= self.bound


Suite = Callable[[], Iterator[Check]]
#: Every suite with what it measures; each is a module of this package with a function ``checks``.
SUITES = {
    "speed": "the algorithms against the sequential loop and softmax attention, forward and backward",
    "memory": "how time and peak memory grow with the length",
    "accuracy": "float32 and bfloat16 against the sequential form in float64, decays of all sizes mixed",
    "overhead": "the Python time that a scan adds to its algorithm",
    "lengths": "training tokens a second at a fixed number of tokens a step, from T=256 to 32768",
    "models": "a training step of every recipe against what the cost model predicts",
    "decoding": "time and memory a token while 4,096 tokens are decoded, and decoded against parallel logits",
    "scan": "the kernels on a GPU against their peers, predictions and floors; without one, the predictions",
}


def suites() -> dict[str, tuple[str, Suite]]:
    """Name → what it measures and the function that does; a suite is imported when it is run."""

    def runner(name: str) -> Suite:
        return lambda: import_module(f"eos.bench.{name}").checks()

    return {name: (what, runner(name)) for name, what in SUITES.items()}
