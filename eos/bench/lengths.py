"""Training tokens a second at a fixed number of tokens a step: constant in the length, beside softmax's."""

import statistics
from collections.abc import Callable, Iterator

import torch
from torch.nn.functional import cross_entropy

from eos.bench.check import Check
from eos.bench.measure import side_by_side
from eos.compose import build

TOKENS = 32768
LENGTHS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
#: Rounds over all lengths; softmax is there to be seen, not held to a bound.
ROUNDS = {"retnet": 5, "llama": 1}
SIZES = ("layers=2", "width=128")


def checks() -> Iterator[Check]:
    """Tokens a second of retnet (one decay a head) and llama (softmax), 2 layers of width 128, 32,768 tokens a step."""
    speeds: dict[str, dict[int, float]] = {}
    for name, rounds in ROUNDS.items():
        times = side_by_side({str(length): training_step(name, length) for length in LENGTHS}, rounds=rounds)
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


def training_step(name: str, length: int) -> Callable[[], None]:
    """Forward, backward and AdamW on TOKENS tokens."""
    torch.manual_seed(0)
    model = build(name, SIZES, vocabulary=256)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    tokens = torch.randint(256, (TOKENS // length, length + 1))

    def step() -> None:
        loss = cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step
