"""Ask a trained run the questions of lm-evaluation-harness."""

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import click

from eos.errors import EOSError, install


@click.command()
@click.argument("source", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--tasks", required=True, metavar="NAME,…", help="Tasks of the harness, or of --include.")
@click.option("--include", metavar="FOLDER", type=click.Path(path_type=Path), help="Task files (YAML) of your own.")
@click.option("--shots", type=click.IntRange(min=0), help="Solved examples before a question; else the task's number.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="The first N questions of every task alone.")
@click.option("--rows", default=16, show_default=True, type=click.IntRange(min=1), help="Texts at once.")
@click.option(
    "--length", default=2048, show_default=True, type=click.IntRange(min=2), help="Tokens of a text at most, the last."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="Write them as JSON too.")
def command(
    source: Path,
    tasks: str,
    include: Path | None,
    shots: int | None,
    limit: int | None,
    rows: int,
    length: int,
    device: str,
    out: Path | None,
) -> None:
    """Score the model of RUN, a run on text or what eos export wrote, on tasks of lm-evaluation-harness.

    Most tasks fetch their data from the network once; a task file in the folder of --include may name files of its own.
    Such a file can run code: include none that you have not read.

    \b
    Examples:
      eos harness runs/demo --tasks lambada_openai,piqa,arc_easy
      eos harness runs/demo --tasks mine --include my-tasks --limit 100
    """
    if find_spec("lm_eval") is None:
        raise EOSError(f"eos harness needs lm-evaluation-harness: {install('harness')}")
    # Only now, so that help is shown without waiting for transformers.
    from rich.text import Text

    from eos.cli.output import print_columns
    from eos.cli.result import number
    from eos.hub.harness import run_harness
    from eos.training.config import Device

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    scores = run_harness(
        source,
        names,
        include=include,
        shots=shots,
        limit=limit,
        rows=rows,
        length=length,
        device=cast(Device, device),
    )
    if out is not None:
        out.write_text(json.dumps([asdict(score) for score in scores], indent=1) + "\n", encoding="utf-8")
    print_columns(
        (
            f"{score.task} {score.metric.replace('_', ' ')}",
            Text(number(score.value) + ("" if score.error is None else f" ± {number(score.error)}")),
        )
        for score in scores
    )
