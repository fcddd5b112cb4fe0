"""Measure the numbers that the project promises; exit status 1 where one is missed."""

import sys
from pathlib import Path
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
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    type=click.Choice(["cpu", "cuda"]),
    help="Where the suite scan runs; on the CPU it only predicts. The others always run on the CPU.",
)
@click.option(
    "--json",
    "json_file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep the rows of the suite scan.",
)
@click.option("--markdown", is_flag=True, help="Print the rows of the suite scan as a table.")
def command(names: tuple[str, ...], threads: int, device: str, json_file: Path | None, markdown: bool) -> None:
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
      scan       the kernels on a GPU against others' and against the least time, beside what is predicted

    \b
    Examples:
      eos bench accuracy
      eos bench speed memory
      eos bench scan --device cuda --json rows.json
    """
    # Only now, so that help is shown without waiting for PyTorch.
    import torch

    from eos.bench import suites

    known = suites()
    for name in names:
        if name not in known:
            raise EOSError(unknown("suite", name, known))
    if (device == "cuda" or json_file or markdown) and names != ("scan",):
        asked = f"eos bench {' '.join(names)}".strip()
        raise EOSError(f"--device, --json and --markdown go with one suite, eos bench scan, got {asked}")
    torch.set_num_threads(threads)
    missed = 0
    for name in names or known:
        what, checks = known[name]
        print_line(f"{name}: {what} (torch {torch.__version__}, {threads} threads)", style="bold")
        if name == "scan":
            missed += _scan(device, json_file, markdown=markdown)
            continue
        for check in checks():
            _print(check)
            missed += not check.met
    if missed:
        print_line(f"{missed} missed", style="red")
        sys.exit(MISSED)


def _scan(device: str, json_file: Path | None, *, markdown: bool) -> int:
    """Print the rows as they come, keep them, and return how many goals were missed."""
    from eos.bench import gpu_clock, scan, scan_rows

    on = scan.timing() if device == "cuda" else None
    machine, rates = gpu_clock.machine(device), None if on is None else on.rates
    print_line(scan_rows.heading(machine, rates))
    rows = []
    for row in scan.rows(on):
        rows.append(row)
        if json_file is not None:  # after every row: a run may be stopped
            scan_rows.write_json(json_file, machine, rates, rows)
        for check in () if markdown else row.checks():
            _print(check)
    if markdown:
        for line in scan_rows.markdown(rows).splitlines():
            print_line(line)
    return sum(row.missed for row in rows)


def _print(check: "Check") -> None:
    print_line(_line(check), style="" if check.met else "red")


def _line(check: "Check") -> str:
    if check.value is None:
        return f"     {check.name}: not measured" + (f"  [{check.detail}]" if check.detail else "")
    number = f"{check.value:.2e}" if 0 < check.value < 1e-2 else f"{check.value:,.4g}"
    verdict = "    " if check.bound is None else "ok  " if check.met else "MISS"
    bound = "" if check.bound is None else f" ({check.side} {check.bound:g}{check.unit})"
    detail = f"  [{check.detail}]" if check.detail else ""
    return f"{verdict} {check.name}: {number}{check.unit}{bound}{detail}"
