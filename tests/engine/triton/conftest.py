"""What the tests of the kernels run under."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import triton.language as tl
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


def _remembered(dtype_of: Callable[[Any], np.dtype[Any]]) -> Callable[[Any], np.dtype[Any]]:
    """The NumPy dtype of a type, which is that of its entries."""
    found: dict[str, np.dtype[Any]] = {}

    def remembered(kind: Any) -> np.dtype[Any]:
        name = str(kind.scalar)
        if name not in found:
            found[name] = dtype_of(kind)
        return found[name]

    return remembered


@pytest.fixture(autouse=True)
def _fast_interpreter(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Once a test what the interpreter does at every call: look through all of the language, for one; no overflow of
    indices is looked for, which takes a third of the time."""
    every = SimpleNamespace(__globals__={"tl": tl, "core": tl.core})
    scope = interpreter._patch_lang(every)
    monkeypatch.setattr(interpreter, "_patch_lang", lambda _: interpreter._LangPatchScope())
    monkeypatch.setattr(interpreter, "_get_np_dtype", _remembered(interpreter._get_np_dtype))
    options = replace(interpreter.interpreter_builder.options, sanitize_overflow=False)
    monkeypatch.setattr(interpreter.interpreter_builder, "options", options)
    monkeypatch.setattr(interpreter.ScanOps, "generic_scan", _scan_by_rows)
    yield
    scope.restore()


@pytest.fixture(autouse=True)
def _nothing_is_left_unwritten(small_calls: None) -> Iterator[None]:
    """Every tensor that is made empty is full of NaN."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    yield
    torch.use_deterministic_algorithms(False)
