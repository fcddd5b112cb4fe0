"""The algorithms against the sequential loop and against softmax attention, in one run."""

from collections.abc import Callable, Iterator

import torch
from torch.nn.functional import scaled_dot_product_attention

from eos import engine
from eos.bench.check import Check
from eos.bench.measure import side_by_side
from eos.bench.records import BATCH, HEADS, KEY, VALUE, Sample, sample

SHORT, LONG = 2048, 16384
AGAINST_SEQUENTIAL = {"head": 25.0, "key": 18.0, "delta": 8.0, "elementwise": 2.0}
#: kind → forward at 2048, forward at 16384, forward + backward at 16384
AGAINST_SOFTMAX = {"head": (3.0, 20.0, 15.0), "key": (2.0, 14.0, 8.0)}


def checks() -> Iterator[Check]:
    """Ratios of times; more than 1 is faster than the peer."""
    for kind, bound in AGAINST_SEQUENTIAL.items():
        it = sample(kind, SHORT)
        times = side_by_side(
            {"auto": _forward_backward(it, "auto"), "sequential": _forward_backward(it, "sequential")}, rounds=3
        )
        yield Check(
            name=f"{kind}, T={SHORT}: sequential / {engine.plan(it.record).algorithm}, forward + backward",
            value=times["sequential"] / times["auto"],
            bound=bound,
            detail=_milliseconds(times),
        )
    for length, rounds in ((SHORT, 15), (LONG, 5)):
        samples = {kind: sample(kind, length) for kind in AGAINST_SOFTMAX}
        forward = side_by_side(
            {**{kind: _forward(it) for kind, it in samples.items()}, "softmax": _softmax(length, backward=False)},
            rounds=rounds,
        )
        for kind, bounds in AGAINST_SOFTMAX.items():
            yield Check(
                name=f"{kind}, T={length}: softmax / {kind}, forward",
                value=forward["softmax"] / forward[kind],
                bound=bounds[0] if length == SHORT else bounds[1],
                detail=_milliseconds({kind: forward[kind], "softmax": forward["softmax"]}),
            )
        both = side_by_side(
            {
                **{kind: _forward_backward(it, "auto") for kind, it in samples.items()},
                "softmax": _softmax(length, backward=True),
            },
            rounds=max(rounds // 2, 2),
        )
        for kind, bounds in AGAINST_SOFTMAX.items():
            yield Check(
                name=f"{kind}, T={length}: softmax / {kind}, forward + backward",
                value=both["softmax"] / both[kind],
                bound=None if length == SHORT else bounds[2],
                detail=_milliseconds({kind: both[kind], "softmax": both["softmax"]}),
            )


def _forward(it: Sample) -> Callable[[], object]:
    def run() -> None:
        with torch.no_grad():
            engine.scan(it.record)

    return run


def _forward_backward(it: Sample, algorithm: str) -> Callable[[], object]:
    def run() -> None:
        y, _ = engine.scan(it.record, algorithm=algorithm)
        torch.autograd.grad(y, it.leaves, it.direction)

    return run


def _softmax(length: int, *, backward: bool) -> Callable[[], object]:
    query, key, value = (torch.randn(BATCH, HEADS, length, size, requires_grad=backward) for size in (KEY, KEY, VALUE))
    direction = torch.randn_like(value)

    def run() -> None:
        y = scaled_dot_product_attention(query, key, value, is_causal=True)
        if backward:
            torch.autograd.grad(y, [query, key, value], direction)

    return run


def _milliseconds(times: dict[str, float]) -> str:
    return ", ".join(f"{name} {seconds * 1e3:.3g} ms" for name, seconds in times.items())
