"""Compiles a small model of a recipe for torch.compile and compares it with itself uncompiled.

A script of its own, because torch.compile cannot trace the checks of types that the tests put around every call.
Arguments: the recipe's name, "autocast" or "plain", and lengths of sequences. Prints the number of graphs, which counts
breaks, and the largest differences of logits and gradients, relative to the largest entry.
"""

import json
import sys
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

import eos


def main(name: str, mode: str, lengths: list[int]) -> None:
    """Run every length forward and backward, plain and compiled."""
    torch.manual_seed(0)
    model = eos.build(name, ["layers=1"], vocabulary=64)
    graphs = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(model, backend=graphs)
    context = torch.autocast("cpu", torch.bfloat16) if mode == "autocast" else nullcontext()
    differences = [0.0, 0.0]
    for length in lengths:
        tokens = torch.randint(0, 50, (2, length))
        with context:
            runs = [_run(model, run, tokens) for run in (model, compiled)]
        pairs = list(zip(*runs, strict=True))
        for index, held in enumerate((pairs[:1], pairs[1:])):
            differences[index] = max(differences[index], *(_difference(x, y) for x, y in held))
    found = {"graphs": graphs.frame_count, "logits": differences[0], "gradients": differences[1]}
    sys.stdout.write(json.dumps(found) + "\n")


def _run(model: torch.nn.Module, run: Any, tokens: Tensor) -> list[Tensor]:
    torch.manual_seed(1)
    y = run(tokens)
    y = y[0] if isinstance(y, tuple) else y
    gradients = torch.autograd.grad(y.float().square().mean(), list(model.parameters()), allow_unused=True)
    return [y.detach(), *(d for d in gradients if d is not None)]


def _difference(x: Tensor, y: Tensor) -> float:
    if not (x.isfinite().all() and y.isfinite().all()):
        return float("inf")
    return float((x - y).abs().max() / x.abs().max().clamp(min=1e-12))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], [int(length) for length in sys.argv[3:]])
