"""The promise of accuracy: T = 2048 with log-decays of −1e-4, −1, −30 and −88 mixed over steps, and resets."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional

import eos
from eos.record import Memory, Recurrence, Transition
from tests.compare import assert_close, outcome, scanned
from tests.records import cast
from tests.tolerances import BY_DTYPE, FLOAT32_STEPS

LENGTH, HEADS, KEY, VALUE = 2048, 2, 16, 12
#: Decays of every size; such as stay mild over a leaf of 16 steps, where rows and columns meet at one anchor; and one
#: so slow that the memory lives through all steps.
MIXED, MILD, SLOW = (-1e-4, -1.0, -30.0, -88.0), (-1e-4, -1e-2, -0.5, -0.9), (-1e-4,)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Which parts decay, and the algorithm that the plan chooses for them."""

    parts: tuple[str, ...]
    algorithm: str


KINDS = {
    "head": Kind(parts=("head",), algorithm="chunked"),
    "key": Kind(parts=("key",), algorithm="chunked"),
    "value": Kind(parts=("value",), algorithm="chunked"),
    "key + value": Kind(parts=("key", "value"), algorithm="chunked"),
    "key + phase": Kind(parts=("key", "phase"), algorithm="chunked"),
    "log_gate": Kind(parts=("key", "log_gate"), algorithm="chunked"),
    "delta + head": Kind(parts=("erase", "head"), algorithm="delta"),
    "delta + key": Kind(parts=("erase", "key"), algorithm="delta"),
    "elementwise": Kind(parts=("rate",), algorithm="elementwise"),
}


def record(parts: tuple[str, ...], decays: tuple[float, ...], *, resets: bool, read: str) -> Recurrence:
    """A record in float64 whose every log-decay is drawn from ``decays``, over steps and over K."""
    generator = torch.Generator().manual_seed(0)
    pairs = KEY // 2 if "phase" in parts else KEY

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()

    def drawn(*shape: int) -> Tensor:
        choice = torch.randint(len(decays), shape, generator=generator)
        return torch.tensor(decays, dtype=torch.float64)[choice].requires_grad_()

    steps = (1, LENGTH, HEADS)
    made: dict[str, object] = {}
    if "head" in parts:
        made["head"] = drawn(*steps)
    if "key" in parts:
        made["key"] = drawn(*steps, pairs)
    if "value" in parts:
        made["value"] = drawn(*steps, VALUE)
    if "phase" in parts:
        made["phase"] = normal(*steps, pairs)
    if "log_gate" in parts:
        made |= {"log_gate": normal(*steps, pairs), "stabilise": "sum"}
    if "rate" in parts:
        rate, step = -normal(HEADS, KEY, VALUE).exp(), -drawn(*steps, 1, VALUE)
        made |= {"rate": rate.detach().requires_grad_(), "step": step.detach().requires_grad_()}
    if "erase" in parts:
        b = functional.normalize(normal(*steps, KEY), dim=-1).detach()
        made["erase"] = ((-torch.sigmoid(normal(*steps, 1)) * b).detach().requires_grad_(), b.requires_grad_())
    scale = normal(1, HEADS, pairs) if "log_gate" in parts else None
    e = functional.normalize(normal(*steps, KEY), dim=-1).detach().requires_grad_()
    return Recurrence(
        input=normal(*steps, VALUE),
        expand=e,
        shrink=normal(*steps, KEY),
        transition=Transition(**made),  # type: ignore[arg-type]
        memory=Memory(value=normal(1, HEADS, KEY, VALUE), log_scale=scale),
        read=read,  # type: ignore[arg-type]
        reset=torch.rand(1, LENGTH, generator=generator) < 0.005 if resets else None,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("decays", "resets", "read"),
    [
        pytest.param(MIXED, True, "after", id="mixed, resets"),
        pytest.param(MILD, False, "after", id="mild"),
        pytest.param(SLOW, False, "after", id="slow", marks=pytest.mark.slow),
        pytest.param(MIXED, False, "before", id="mixed, before", marks=pytest.mark.slow),
        pytest.param(MILD, True, "before", id="mild, before, resets", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_memory_and_gradients_keep_their_digits(
    kind: str, decays: tuple[float, ...], resets: bool, read: str, dtype: torch.dtype
) -> None:
    """max |x − reference| / max |reference| over each tensor; the reference is given the same rounded numbers."""
    parts, algorithm = KINDS[kind].parts, KINDS[kind].algorithm
    narrow = cast(record(parts, decays, resets=resets, read=read), dtype)
    assert eos.plan(narrow).algorithm == algorithm
    want = outcome(cast(narrow, torch.float64), scanned("sequential"), rounded=dtype)
    by_steps = algorithm == "elementwise" and decays is SLOW and dtype == torch.float32
    assert_close(outcome(narrow, scanned()), want, FLOAT32_STEPS if by_steps else BY_DTYPE[dtype])
