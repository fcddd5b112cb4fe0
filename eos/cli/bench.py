"""Measure the numbers that the project promises; exit status 1 where one is missed."""

import sys
from typing import TYPE_CHECKING

import click

from eos.cli.output import print_line
from eos.errors import EOSError, unknown

if TYPE_CHECKING:
    from eos.bench import Check

MISSED = 1


@click.command("bench")
@click.argument("names", nargs=-1, metavar="[SUITE]...")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(min=1), help="CPU threads to use.")
def command(names: tuple[str, ...], threads: int) -> None:
    """Measure the promised numbers, side by side with a peer, and exit with 1 where one is missed.

    Ratios are taken within one run; run it on a machine that does nothing else. Without a SUITE, all run.

    \b
    Suites:
      speed      the algorithms against the sequential loop and softmax attention
      memory     how time and peak memory grow with the length
      accuracy   float32 and bfloat16 against the sequential form in float64
      overhead   the Python time that a scan adds to its algorithm
      lengths    training tokens a second, constant in the length
      models     a training step of every recipe against its predicted cost
      decoding   time and memory a token over 4,096 tokens

    \b
    Examples:
      eos bench accuracy
      eos bench speed memory
    """
    # Only now, so that help is shown without waiting for PyTorch.
    import torch

    from eos.bench import suites

    known = suites()
    for name in names:
        if name not in known:
            raise EOSError(unknown("suite", name, known))
    torch.set_num_threads(threads)
    missed = 0
    for name in names or known:
        what, checks = known[name]
        print_line(f"{name}: {what} (torch {torch.__version__}, {threads} threads)", style="bold")
        for check in checks():
            print_line(_line(check), style="" if check.met else "red")
            missed += not check.met
    if missed:
        print_line(f"{missed} missed", style="red")
        sys.exit(MISSED)


def _line(check: "Check") -> str:
    number = f"{check.value:.2e}" if 0 < check.value < 1e-2 else f"{check.value:,.4g}"
    verdict = "    " if check.bound is None else "ok  " if check.met else "MISS"
    bound = "" if check.bound is None else f" ({check.side} {check.bound:g}{check.unit})"
    detail = f"  [{check.detail}]" if check.detail else ""
    return f"{verdict} {check.name}: {number}{check.unit}{bound}{detail}"
