"""Compiles the kernels for a GPU that need not be there, and says what each takes. Run as a program, it prints JSON.

Every launch of a record's forward and backward pass is compiled instead of made. Not to be run under TRITON_INTERPRET.
"""

import json
import re
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from eos.engine.lower import Inside, Lowered
from eos.engine.triton import algorithm_of
from eos.engine.triton.step import step
from eos.engine.triton.tiles import SHIPPED, Served, for_decays_over_value
from eos.record import Recurrence, Transition

TARGETS = {
    "sm_80": GPUTarget("cuda", 80, 32),
    "sm_90": GPUTarget("cuda", 90, 32),
    "gfx942": GPUTarget("hip", "gfx942", 64),
}
PTXAS = Path(triton.__file__).parent / "backends/nvidia/bin/ptxas"


@dataclass(frozen=True, kw_only=True)
class Compiled:
    """What one specialisation takes: registers a thread, bytes spilled a thread, bytes of shared memory a program."""

    kernel: str
    registers: int
    spilled: int
    shared: int
    serialized: bool = False


class _NoDevice:
    """Stands for a driver of a GPU that is not there."""

    def __init__(self, target: GPUTarget) -> None:
        self.target = target

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def measured(name: str, kernel: Any) -> Compiled:
    """What the assembler says of a compiled kernel."""
    if "ptx" not in kernel.asm:
        text = kernel.asm["amdgcn"]
        registers, spilled = (
            int(re.findall(rf"\.{key}: *(\d+)", text)[0]) for key in ("vgpr_count", "vgpr_spill_count")
        )
        return Compiled(kernel=name, registers=registers, spilled=4 * spilled, shared=kernel.metadata.shared)
    ptx = kernel.asm["ptx"]
    architecture = re.findall(r"\.target (sm_\w+)", ptx)[0]
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(ptx)
        file.flush()
        command = [str(PTXAS), "-v", "-arch", architecture, file.name, "-o", "/dev/null"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    return Compiled(
        kernel=name,
        registers=int(re.findall(r"Used (\d+) registers", said)[0]),
        spilled=int(re.findall(r"(\d+) bytes spill stores", said)[0]),
        shared=kernel.metadata.shared,
        serialized="serialized" in said,
    )


#: What is compiled: the decay of K and of V, each none, one (a head) or every (entry), or one rate for both.
CASES = {
    "chunked none": ("none", "none"),
    "chunked one": ("one", "none"),
    "chunked every": ("every", "none"),
    "chunked both": ("every", "every"),
    "delta": ("every", "none"),
    "delta one": ("one", "none"),
    "elementwise value": ("none", "every"),
    "elementwise rate": ("rate", "none"),
    "chunked every edges": ("every", "none"),
    "chunked value edges": ("none", "every"),
    "elementwise value edges": ("none", "every"),
    "elementwise rate edges": ("rate", "none"),
}
#: Of decoding: a plain record, and two of those that take the most registers.
STEPS = ("step key", "step erase", "step rate")


def compiled(target: str, name: str, size: int, dtype: torch.dtype) -> list[Compiled]:
    """Every kernel of one case with K = V = size, in the order of their launches, forward first."""
    found: list[Compiled] = []
    launch = JITFunction.run

    def compile_only(self: Any, *arguments: Any, grid: Any, warmup: bool, **options: Any) -> Any:
        kernel = launch(self, *arguments, grid=grid, warmup=True, **options)
        found.append(measured(self.__name__, kernel))
        return kernel

    JITFunction.run = compile_only
    driver.set_active(_NoDevice(TARGETS[target]))
    torch.version.hip = "any" if target.startswith("gfx") else None
    if name in STEPS:
        step(_token(name, size, dtype))
    else:
        _run(target, name, size, dtype)
    JITFunction.run = launch
    return found


def _token(name: str, size: int, dtype: torch.dtype) -> Recurrence:
    tensor = torch.zeros(2, 1, 4, size, dtype=dtype)
    turning = torch.zeros(2, 1, 4, size // 2)
    transition = {
        "step key": Transition(key=torch.zeros(2, 1, 4, size)),
        "step erase": Transition(erase=(tensor, tensor), head=torch.zeros(2, 1, 4), phase=turning),
        "step rate": Transition(
            rate=torch.zeros(4, size, size), step=torch.zeros(2, 1, 4, 1, size), link="log_sigmoid"
        ),
    }[name]
    reads = (tensor, tensor) if name == "step rate" else tensor
    return Recurrence(input=tensor, expand=tensor, shrink=reads, transition=transition)


def _run(target: str, name: str, size: int, dtype: torch.dtype) -> None:
    """A pass forward and back of a record of :data:`CASES`."""
    batch, length, heads = 2, 256, 4
    over_key, over_value = CASES[name]

    edges = name.endswith("edges")
    made = dtype if edges else torch.float32  # of a pre-activation

    def decay(kind: str) -> torch.Tensor | None:
        shape = (batch, length, heads, 1 if kind == "one" else size)
        kept = torch.float32 if kind == "one" else made
        return torch.zeros(shape, dtype=kept).requires_grad_() if kind in ("one", "every") else None

    tensor = torch.zeros(batch, length, heads, size, dtype=dtype)
    rate = None
    if over_key == "rate":
        steps = torch.zeros(batch, length, heads, 1, size, dtype=made)
        rate = (torch.zeros(heads, size, size).requires_grad_(), steps)
    x = Lowered(
        input=tensor,
        expand=tensor,
        reads=(tensor,),
        over_key=decay(over_key),
        over_value=decay(over_value),
        over_both=None,
        erase=(tensor, tensor) if name.startswith("delta") else None,
        reset=None,
        before=False,
        turn=None,
        log_scale=None,
        trace=None,
        rate=rate,
        inside=_inside(name, heads, size) if edges else Inside(),
    )
    memory = torch.zeros(batch, heads, size, size)
    served = Served.of(name.split()[0], key=size, value=size, dtype=dtype, architecture=target)
    tiles = SHIPPED[served] if x.over_value is None else for_decays_over_value(SHIPPED[served])
    algorithm = algorithm_of(served.algorithm, tiles)
    algorithm.forward(x, memory)
    algorithm.backward(x, memory, (tensor,), memory)


def _inside(name: str, heads: int, size: int) -> Inside:
    """All edges that a record of :data:`CASES` may have."""
    bias = torch.zeros(heads, size)
    match CASES[name]:
        case ("rate", _):
            return Inside(step=torch.zeros(heads, 1, size), gate="step")
        case ("every", _):
            return Inside(key=bias, key_tau=16.0, gate="key", expand=True, reads=True)
    return Inside(value=bias, value_tau=16.0, gate="value")


if __name__ == "__main__":
    for target, name, size, dtype in json.loads(sys.argv[1]):
        for place, each in enumerate(compiled(target, name, size, getattr(torch, dtype))):
            row = {"target": target, "case": name, "size": size, "dtype": dtype, "launch": place, **asdict(each)}
            sys.stdout.write(json.dumps(row) + "\n")
            sys.stdout.flush()
