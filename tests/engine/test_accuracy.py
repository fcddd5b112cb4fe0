"""The promise of accuracy: T = 2048 with log-decays of −1e-4, −1, −30 and −88 mixed over steps, and resets."""

import pytest
import torch

import eos
from eos.bench.accuracy import DECAYS, KINDS, drawn_record, relative_errors
from eos.record import Read
from tests.tolerances import BY_DTYPE, FLOAT32_STEPS

#: The memory lives through all steps.
SLOW = (-1e-4,)
ALGORITHMS = {"delta, head": "delta", "delta, key": "delta", "elementwise": "elementwise"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("decays", "resets", "read"),
    [
        pytest.param(DECAYS["mixed"], True, "after", id="mixed, resets"),
        pytest.param(DECAYS["mild"], False, "after", id="mild"),
        pytest.param(SLOW, False, "after", id="slow", marks=pytest.mark.slow),
        pytest.param(DECAYS["mixed"], False, "before", id="mixed, before", marks=pytest.mark.slow),
        pytest.param(DECAYS["mild"], True, "before", id="mild, before, resets", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_memory_and_gradients_keep_their_digits(
    kind: str, decays: tuple[float, ...], resets: bool, read: Read, dtype: torch.dtype
) -> None:
    """max |x − reference| / max |reference| over each tensor; the reference is given the same rounded numbers."""
    record = drawn_record(kind, decays, resets=resets, read=read, batch=1, sizes=(16, 12))
    assert eos.plan(record).algorithm == ALGORITHMS.get(kind, "chunked")
    by_steps = kind == "elementwise" and decays is SLOW and dtype == torch.float32
    bound = FLOAT32_STEPS if by_steps else BY_DTYPE[dtype]
    wrong = {name: error for name, error in relative_errors(record, dtype).items() if not error <= bound}
    assert not wrong
