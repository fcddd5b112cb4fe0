"""One transition for every part, and the page that shows what every ordered pair of them becomes.

Run as a script, it writes docs/reference/transitions.md.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from eos.errors import RecordError
from eos.record import Transition, parts

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "transitions.md"
#: B, T, H, K, V of all of them.
SHAPE = (2, 1, 3, 4, 5)
B, T, H, K, V = SHAPE
PAIRS = K // 2

Random = Callable[..., Tensor]


def random(seed: int) -> Random:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)


def decay(x: Tensor) -> Tensor:
    return functional.logsigmoid(x)


#: Every part as a transition of its own; some share an axis, so that broadcasting is tested too.
PARTS: dict[str, Callable[[Random], Transition]] = {
    "head": lambda r: Transition(head=decay(r(B, T, H))),
    "key": lambda r: Transition(key=decay(r(1, T, H, K))),
    "key, K/2": lambda r: Transition(key=decay(r(B, T, H, PAIRS))),
    "value": lambda r: Transition(value=decay(r(B, T, 1, V))),
    "rate × step": lambda r: Transition(rate=decay(r(H, K, V)), step=r(B, T, H, 1, V).exp()),
    "rate × step, K/2": lambda r: Transition(rate=decay(r(H, PAIRS, V)), step=r(B, T, H, PAIRS, 1).exp()),
    "log_sigmoid": lambda r: Transition(rate=r(H, 1, V), step=r(B, T, H, 1, V), link="log_sigmoid", tau=4.0),
    "phase": lambda r: Transition(phase=r(B, T, H, PAIRS)),
    "phase over V": lambda r: Transition(phase=r(1, T, 1, PAIRS, V)),
    "phase_rate × step": lambda r: Transition(phase_rate=r(H, PAIRS, V), step=r(B, T, H, 1, V).exp()),
    "erase": lambda r: Transition(erase=(r(B, T, H, K), r(B, T, H, K))),
    "gate over K": lambda r: Transition(gate=r(B, T, H, K, 1)),
    "gate over V": lambda r: Transition(gate=r(B, T, 1, 1, V)),
    "log_gate, sum": lambda r: Transition(log_gate=r(B, T, H, 1), stabilise="sum"),
    "log_gate, max": lambda r: Transition(log_gate=r(B, T, H, 1), stabilise="max"),
}


def part(name: str, seed: int = 0) -> Transition:
    return PARTS[name](random(seed))


def named(transition: Transition) -> dict[str, Tensor]:
    """Its tensors by name."""
    return {name: tensor for name, _, tensor in parts(transition)}


def becomes(left: Transition, right: Transition) -> str:
    """In a word, how the fields of the product follow from those of its factors."""
    product = left * right
    before, after = named(left) | named(right), named(product)
    if "erase[0]" in before:
        changed = [name for name, erase in (("a", "erase[0]"), ("b", "erase[1]")) if after[erase] is not before[erase]]
        return changed[0] if changed else "·"
    if isinstance(product.step, tuple):
        return "terms"
    both = {name.partition("[")[0] for name in named(left).keys() & named(right).keys()}
    return "·" if not both else "×" if "gate" in both else "+"


#: Every refusal: words of its error's message, and why.
REASONS = {
    "two erases do not multiply": "the product of two erases has rank two; give them as substeps, one a micro-step",
    "erase does not multiply with": "an erase with a decay or phase over V is no record: (1 + a bᵀ) m diag(v)",
    "log_gate cannot stand with": "the running normaliser has no V axis, and an erased memory is no sum",
    "log_gates with stabilise": "a normaliser is a sum or a maximum",
    "tied in pairs": "a turn and a decay commute only where both halves of a pair decay alike: K/2 entries, or one",
    "different links": "all rate × step of a transition go through one link with one tau",
    "(as ": "two decays over K have equally many entries, K or K/2, or one",
}


def page() -> str:
    """The whole page."""
    rows = []
    numbers: dict[str, int] = {}
    for left in PARTS:
        cells = []
        for right in PARTS:
            try:
                cells.append(becomes(part(left, 1), part(right, 2)))
            except RecordError as refusal:
                (words,) = (words for words in REASONS if words in str(refusal))
                cells.append(f"✗{numbers.setdefault(words, len(numbers) + 1)}")
        rows.append(f"| **{left}** | {' | '.join(cells)} |")
    table = "\n".join([f"| first \\ second | {' | '.join(PARTS)} |", "| --- |" + " :-: |" * len(PARTS), *rows])
    refusals = "\n".join(f"* ✗{number}: {REASONS[words]}." for words, number in numbers.items())
    return TEXT.format(K=K, V=V, table=table, refusals=refusals)


TEXT = """# Products of transitions

`first * second` is composition: `second` acts on the memory first. A list of oscillation stages in a recipe is such a
product, so `[head_decay, rotation]` turns the memory and then lets it decay. Two erases make no record: they need
substeps, one erase a micro-step. `K/2` marks decays with one entry a pair. The tests compare every product below with
that of dense {K}·{V} × {K}·{V} matrices, and triples with the same bracketed the other way.

{table}

* `·`: both stand side by side in the product, unchanged.
* `+`: they add up: log-decays, phases, log-gates.
* `×`: gates multiply.
* `terms`: a product of several rate × step holds tuples of them, whose log-decays and phases add up.
* `a`: a decay or phase ψ listed before an erase turns its a: ψ (1 + a bᵀ) = ψ + (ψ a) bᵀ.
* `b`: one listed after turns its b by the transpose: (1 + a bᵀ) ψ = ψ + a (ψᵀ b)ᵀ.

Refused:

{refusals}

`first * second` is the product of one micro-step. With substeps, `first.times(second, substeps=n)` lets `second` act
before the first micro-step of each step, whose b it turns; a decay or phase listed before an erase would act after the
last of them, and is refused.
"""

if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
