"""Training tokens a second at a fixed number of tokens a step: constant in the length, beside softmax's."""

import statistics
from collections.abc import Callable, Iterator, Sequence

import torch
from torch.nn.functional import cross_entropy

from eos.bench.check import Check
from eos.bench.measure import side_by_side
from eos.compose import build

TOKENS = 32768
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
#: Rounds over all lengths; softmax is there to be seen, not held to a bound.
ROUNDS = {"retnet": 5, "llama": 1}
#: Trained as convolutions, which cost T log T.
CONVOLUTIONS, CONVOLVED = ("tnn", "s4"), (2048, 16384)
SIZES = ("layers=2", "width=128")


def checks() -> Iterator[Check]:
    """Tokens a second of retnet (one decay a head) and llama (softmax), and the time of a token in tnn and s4.

    2 layers of width 128, 32,768 tokens a step.
    """
    speeds: dict[str, dict[int, float]] = {}
    for name, rounds in ROUNDS.items():
        times = side_by_side(
            {str(length): training_step(name, length, tokens=TOKENS) for length in LENGTHS}, rounds=rounds
        )
        speeds[name] = {length: TOKENS / times[str(length)] for length in LENGTHS}
    for name, curve in speeds.items():
        for length, speed in curve.items():
            yield Check(name=f"{name}, T={length}: training tokens a second", value=speed, unit="tokens/s")
    curve = speeds["retnet"]
    middle = statistics.mean([min(curve.values()), max(curve.values())])
    yield Check(
        name=f"retnet: spread around the middle from T={LENGTHS[0]} to {LENGTHS[-1]}",
        value=max(curve.values()) / middle - 1.0,
        bound=0.15,
        unit="",
        side="at most",
    )
    for name in CONVOLUTIONS:
        steps = {str(length): training_step(name, length, tokens=TOKENS) for length in CONVOLVED}
        times = side_by_side(steps, rounds=ROUNDS["retnet"])
        short, long = (times[str(length)] for length in CONVOLVED)
        yield Check(
            name=f"{name}: time of a token at T={CONVOLVED[1]} over that at T={CONVOLVED[0]}",
            value=long / short,
            bound=1.5,
            side="at most",
        )


def training_step(name: str, length: int, *, tokens: int, sizes: Sequence[str] = SIZES) -> Callable[[], None]:
    """Forward, backward and AdamW on so many tokens, in rows of a length."""
    torch.manual_seed(0)
    model = build(name, sizes, vocabulary=256)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    rows = torch.randint(256, (tokens // length, length + 1))

    def step() -> None:
        loss = cross_entropy(model(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step
