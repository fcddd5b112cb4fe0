"""What the tests of the kernels run under."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from triton.runtime import interpreter


def _scan_by_rows(self: Any, tensors: list[Any]) -> list[Any]:
    """The interpreter's scan, a row of the scanned axis at a time instead of an entry: forty times faster."""
    rows = [np.moveaxis(tensor.handle.data, self.axis, 0) for tensor in tensors]
    kinds = [tensor.dtype for tensor in tensors]
    held = tuple(self.to_tensor(np.ascontiguousarray(row[0]), kind) for row, kind in zip(rows, kinds, strict=True))
    found = [held]
    for index in range(1, len(rows[0])):
        step = (self.to_tensor(np.ascontiguousarray(row[index]), kind) for row, kind in zip(rows, kinds, strict=True))
        held = self.combine_fn.fn(*held, *step)
        found.append(held)
    return [
        self.to_tensor(np.stack([each[place].handle.data for each in found], self.axis), kind)
        for place, kind in enumerate(kinds)
    ]


@pytest.fixture(autouse=True)
def _fast_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter.ScanOps, "generic_scan", _scan_by_rows)


@pytest.fixture(autouse=True)
def _nothing_is_left_unwritten(small_calls: None) -> Iterator[None]:
    """Every tensor that is made empty is full of NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
