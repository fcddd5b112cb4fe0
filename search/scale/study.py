"""What runs of several sizes say together: a law of parameters and tokens, the frontier, and what a budget buys."""

from collections.abc import Sequence
from dataclasses import dataclass

from eos.errors import RunError
from search.scale.law import STEEPEST, Law, Optimum, bootstrap, fit, interval, optimum
from search.scale.runs import Point

#: FLOPs in a petaFLOP/s for a day, the unit that laws of compute are published in.
PFLOPS_DAY = 1e15 * 86400
#: A budget beyond the largest run by more than this is no longer told.
BEYOND = 100.0
#: The share of the loss that a term of the law must explain from the smallest size to the largest.
SEEN = 0.01
Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Share:
    """How the best N and D grow with compute, N ∝ C^n and D ∝ C^(1 − n).

    Arguments:
        parameters: n.
        range: 95 %.
    """

    parameters: float
    range: Range


@dataclass(frozen=True, kw_only=True)
class Spent:
    """A budget, spent in the best way.

    Arguments:
        compute: FLOPs.
        best: N, D and the loss expected there.
        parameters, loss: 95 % ranges.
    """

    compute: float
    best: Optimum
    parameters: Range
    loss: Range


@dataclass(frozen=True, kw_only=True)
class Study:
    """The laws of one model.

    Arguments:
        points: its runs, by compute.
        frontier: those that no run of as little compute beats.
        each: FLOPs of training for a parameter and token, C / (N D), the middle of all runs.
        power: L = β C^(−α) on the frontier, C in petaFLOP/s-days; None where fewer than three runs stand there.
        floored: the same with a loss that nothing gets below; None where fewer than four do.
        exponent: 95 % range of α; None where the frontier has two budgets.
        both: L = E + A N^(−a) + B D^(−b); None where runs do not suffice.
        floor, exponents: 95 % ranges of E, a and b.
        share: how the best N grows, by ``both``.
        budgets: of the largest run, ten times and a hundred times it, by ``both``.
        missing: why a law is missing.
    """

    points: list[Point]
    frontier: list[Point]
    each: float
    power: Law | None
    floored: Law | None
    exponent: Range | None
    both: Law | None
    floor: Range | None
    exponents: tuple[Range, Range] | None
    share: Share | None
    budgets: list[Spent]
    missing: list[str]


def study(points: Sequence[Point], *, draws: int = 200) -> Study:
    """The laws of runs of one model.

    Arguments:
        points: at least one.
        draws: of the bootstrap.
    """
    ordered = sorted(points, key=lambda point: point.compute)
    edge = frontier(ordered)
    each = sorted(point.compute / (point.parameters * point.tokens) for point in ordered)[len(ordered) // 2]
    missing: list[str] = []

    def tried(sizes: Sequence[tuple[float, ...]], losses: list[float], name: str, *, floor: bool) -> Law | None:
        try:
            law = fit(sizes, losses, floor=floor)
        except RunError as error:
            missing.append(f"{name}: {error}")
            return None
        if _too_steep(law):
            missing.append(f"{name}: these losses fall more steeply than any power law that is looked for")
            return None
        return law

    days, lowest = [(point.compute / PFLOPS_DAY,) for point in edge], [point.loss for point in edge]
    power = tried(days, lowest, "power law of compute", floor=False)
    floored = tried(days, lowest, "power law with a floor", floor=True)
    exponent = None
    # two budgets determine the law, and tell nothing of how sure it is
    if power is not None and len(set(days)) > 2:
        exponent = interval([law.exponents[0] for law in bootstrap(power, days, lowest, draws=draws)])
    sizes, losses = [point.sizes for point in ordered], [point.loss for point in ordered]
    both = tried(sizes, losses, "law of parameters and tokens", floor=True)
    laws = []
    if both is not None:
        laws = [law for law in bootstrap(both, sizes, losses, draws=draws) if _tells(law, ordered)]
    if both is not None and not (_tells(both, ordered) and laws):
        missing.append(
            "law of parameters and tokens: these runs do not tell what either does; take sizes and budgets further "
            "apart, every size with every budget"
        )
        both = None
    elif laws and len(laws) < draws:
        missing.append(f"{draws - len(laws)} of {draws} draws of runs tell no law of both, and stand in no range")
    if both is None:
        laws = []
    budgets = [ordered[-1].compute * times for times in (1, 10, BEYOND)] if both is not None else []
    return Study(
        points=ordered,
        frontier=edge,
        each=each,
        power=power,
        floored=floored,
        exponent=exponent,
        both=both,
        floor=interval([law.floor for law in laws]) if laws else None,
        exponents=_exponents(laws) if laws else None,
        share=None if both is None else Share(parameters=_share(both), range=interval([_share(law) for law in laws])),
        budgets=[] if both is None else [_spent(both, laws, budget, each=each) for budget in budgets],
        missing=missing,
    )


def frontier(points: Sequence[Point]) -> list[Point]:
    """Of runs by compute those that lose less than every one before."""
    found: list[Point] = []
    for point in points:
        if not found or point.loss < found[-1].loss:
            found.append(point)
    return found


def _tells(law: Law, points: Sequence[Point]) -> bool:
    """Whether the loss falls with N and D, over their ranges, by what can be seen; and not as steeply as is allowed."""
    least, most = ([end(sizes) for sizes in zip(*(point.sizes for point in points), strict=True)] for end in (min, max))
    terms = zip(law.coefficients, law.exponents, least, most, strict=True)
    falls = [a * (low**-b - high**-b) for a, b, low, high in terms]
    return min(falls) >= SEEN * law(*least) and not _too_steep(law)


def _too_steep(law: Law) -> bool:
    """Whether the fit ran to the end of what it may."""
    return max(law.exponents) >= 0.99 * STEEPEST


def _share(law: Law) -> float:
    a, b = law.exponents
    return b / (a + b)


def _exponents(laws: Sequence[Law]) -> tuple[Range, Range]:
    return interval([law.exponents[0] for law in laws]), interval([law.exponents[1] for law in laws])


def _spent(law: Law, laws: Sequence[Law], compute: float, *, each: float) -> Spent:
    others = [optimum(other, compute, each=each) for other in laws]
    return Spent(
        compute=compute,
        best=optimum(law, compute, each=each),
        parameters=interval([other.parameters for other in others]),
        loss=interval([other.loss for other in others]),
    )
