"""What the tests of the kernels run under."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _nothing_is_left_unwritten(small_calls: None) -> Iterator[None]:
    """Every tensor that is made empty is full of NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)
