"""Every record on a GPU, where the engine may not look at values."""

import pytest
import torch

from tests.compare import assert_close, outcome, scanned
from tests.engine.runners import reference, runnable
from tests.records import CASES, cast
from tests.tolerances import EXACT


@pytest.mark.gpu
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_gives_the_same(name: str) -> None:
    record, want = reference(name, 65)
    for algorithm in ("sequential", *runnable(record)):
        got = outcome(cast(record, torch.float64, memory=torch.float64, device="cuda"), scanned(algorithm))
        assert_close({part: tensor.cpu() for part, tensor in got.items()}, want, EXACT)
