"""Measure which tile sizes of the kernels are fastest on this machine's GPU, and keep them."""

from collections.abc import Callable
from contextlib import nullcontext
from itertools import product
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from eos.cli.output import console, print_columns, print_line
from eos.errors import TilesError

if TYPE_CHECKING:
    from eos.bench.tune import Measure, Times, Tuned
    from eos.engine.triton.tiles import Row, Served

#: K and V where none are asked for.
USUAL = {"chunked": ((64, 64), (128, 128)), "delta": ((64, 64), (128, 128)), "elementwise": ((16, 256),)}


@click.command("tune")
@click.option(
    "--algorithm", "algorithms", multiple=True, type=click.Choice(list(USUAL)), help="May be repeated. Default: all."
)
@click.option(
    "--key", "keys", multiple=True, type=click.IntRange(1, 256), help="K, entries of e and s a head. May be repeated."
)
@click.option(
    "--value",
    "values",
    multiple=True,
    type=click.IntRange(1, 256),
    help="V, entries of i a head; elementwise, 256 is any above. May be repeated; default: as K.",
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(["bfloat16", "float16", "float32"]),
    default=["bfloat16"],
    show_default=True,
    help="Of the activations. May be repeated; the two of 16 bits share tiles.",
)
@click.option("--seconds", default=900, show_default=True, type=click.IntRange(min=1), help="Time for all of it.")
@click.option("--dry-run", is_flag=True, help="Say what would be measured; needs no GPU.")
def command(
    algorithms: tuple[str, ...],
    keys: tuple[int, ...],
    values: tuple[int, ...],
    dtypes: tuple[str, ...],
    seconds: int,
    dry_run: bool,
) -> None:
    """Measure which tile sizes of the kernels are fastest on this machine's GPU, and keep them.

    A tile is how much of a record a program holds: steps of a chunk, entries of K and V, warps. Good sizes depend on
    the algorithm, K, V, the dtype and the GPU, not on the length, and are shipped for some architectures. This starts
    from the shipped ones and changes one at a time. What does not compile, needs more shared memory than there is, or
    differs from PyTorch in float64 is left out. K and V are rounded up to 16, 32, 64, 128 or 256.

    What is fastest is written to eos/tiles.json in your configuration folder after each combination, so that Ctrl-C
    loses one at most. Programs that start later use it on a GPU of the same name, and eos.plan says so. Run it while
    the GPU does nothing else; without options it takes usual sizes of K and V.

    \b
    Examples:
      eos tune --dry-run
      eos tune --algorithm chunked --key 64 --key 128
      eos tune --algorithm delta --key 128 --value 256 --dtype float32 --seconds 300
    """
    if values and not keys:
        raise click.UsageError("--value was given without --key; say both, or K alone for V = K")
    # Only now, so that help is shown without waiting for PyTorch.
    import torch

    from eos.bench.tune import on_device
    from eos.engine.triton.table import gpu_name, own_path, read
    from eos.engine.triton.tiles import Served, architecture_of

    asked: dict[Served, torch.dtype] = {}
    for algorithm, name in product(algorithms or USUAL, dtypes):
        sizes = [(k, v) for k in keys for v in values or (k,)] or USUAL[algorithm]
        dtype: torch.dtype = getattr(torch, name)
        for k, v in sizes:
            served = Served.of(algorithm, key=k, value=v, dtype=dtype, architecture=architecture_of("cuda"))
            asked.setdefault(served, dtype)
    if dry_run:
        _show_plan(list(asked))
        return
    gpu = gpu_name()
    if gpu is None:
        raise TilesError(
            "tiles are measured on a GPU, and PyTorch finds none here: run eos tune on the machine that trains, "
            "with a build of PyTorch for its GPU. --dry-run shows here what it would measure."
        )
    read(own_path())  # a table that cannot be used is told before anything is measured
    print_line(f"{gpu}, at most {seconds} s; written to {own_path()}", style="bold")
    _measure(list(asked), lambda served: on_device(served, dtype=asked[served]), seconds=seconds, gpu=gpu)


def _show_plan(asked: "list[Served]") -> None:
    from eos.bench.tune import candidates
    from eos.engine.triton.tiles import SHIPPED

    for served in asked:
        tried: dict[str, list[str]] = {}
        for field, size in candidates(served):
            tried.setdefault(field, []).append(f"[{size}]" if size == getattr(SHIPPED[served], field) else str(size))
        print_columns([(str(served), Text(", ".join(f"{name} {' '.join(sizes)}" for name, sizes in tried.items())))])
    print_line("one field at a time, from the shipped sizes in brackets; nothing was measured")


def _measure(asked: "list[Served]", measuring: "Callable[[Served], Measure]", *, seconds: float, gpu: str) -> None:
    """Search with a bar on a terminal, keep what is found as it is found, and print all of it, also when stopped."""
    from eos.bench.tune import candidates, keep, tune

    rows: list[tuple[str, Text]] = []
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console(), transient=True
    )
    task = bar.add_task("", total=sum(len(list(candidates(served))) for served in asked))

    def watched(served: "Served") -> "Measure":
        bar.update(task, description=f"{served}: preparing")
        measure = measuring(served)

        def run(tiles: "Row") -> "Times | None":
            found = measure(tiles)
            bar.update(task, description=str(served), advance=1)
            return found

        return run

    try:
        with bar if bar.console.is_terminal else nullcontext():
            for served, found in tune(asked, watched, seconds=seconds):
                if found is not None:
                    keep(found, gpu=gpu)
                rows.append((str(served), _told(found)))
                bar.update(task, completed=sum(len(list(candidates(each))) for each in asked[: len(rows)]))
    finally:
        print_columns([*rows, *((str(served), Text("not measured")) for served in asked[len(rows) :])])
    if len(rows) < len(asked):
        print_line("The time was over; --seconds gives more.")


def _told(found: "Tuned | None") -> Text:
    """Times before and after, and what was changed."""
    from eos.engine.triton.tiles import SHIPPED

    if found is None:
        return Text("no tiles run here within the dtype's tolerance; nothing was written", style="red")
    shipped = SHIPPED[found.served]
    changes = [
        f"{name} {getattr(shipped, name)} → {size}"
        for name, size in vars(found.tiles).items()
        if size != getattr(shipped, name)
    ]
    before = "does not run" if found.before is None else _milliseconds(found.before)
    return Text(f"{before} → {_milliseconds(found.after)}  {', '.join(changes) or 'as shipped'}")


def _milliseconds(times: "Times") -> str:
    return f"{times.both:.3g} ms ({times.forward:.3g} forward, {times.backward:.3g} backward)"
