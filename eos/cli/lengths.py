"""Evaluate a trained run on text at several lengths, and draw the curve for TensorBoard."""

import shlex
from pathlib import Path
from typing import cast

import click

from eos.cli.arguments import overrides as overrides_argument
from eos.cli.eval import split
from eos.errors import RecipeError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--lengths", required=True, metavar="N,…", help="Tokens of an evaluation row, each of them ≥ 1.")
@overrides_argument
def command(run: Path, lengths: str, overrides: tuple[str, ...]) -> None:
    """Evaluate the model of the folder RUN in rows of several lengths: how it carries over to longer ones.

    Every length scores the whole part, whatever evaluation_tokens is, each row from an empty memory; as many rows at
    once as hold the tokens of training.evaluation_rows rows of training. The figures are printed, and kept in
    RUN/lengths, where TensorBoard draws them over the length. KEY=VALUE and part=validation are as for eos eval.

    \b
    Examples:
      eos lengths runs/demo --lengths 256,512,1024,2048,4096
      eos lengths runs/demo --lengths 512,8192 task.source=other.txt
    """
    asked = _numbers(lengths)
    part, rest = split(overrides)
    # Only now, so that help is shown without waiting for PyTorch.
    from rich.console import Console
    from torch.utils.tensorboard import SummaryWriter

    from eos.cli.output import print_line
    from eos.cli.result import number
    from eos.config import option_fields
    from eos.tasks.task import Split
    from eos.training.evaluation import evaluate
    from eos.training.folder import RunFolder
    from eos.training.report import report_on
    from eos.training.run import recipe_of
    from eos.training.trained import load_for_evaluation

    if "evaluation_length" not in option_fields(recipe_of(RunFolder(run)).task.options.__class__):
        raise RecipeError(
            f"eos lengths takes a run of task=text, whose rows may have any length; ask {run} for other lengths with "
            "eos eval RUN task.KEY=…"
        )
    names: list[str] = []
    events: SummaryWriter | None = None
    with report_on(Console(stderr=True), steps=None) as report:
        for length in asked:
            trained = load_for_evaluation(run, [*rest, f"task.evaluation_length={length}"])
            options, task = trained.recipe.training, trained.task
            held = next(task.evaluation_batches(cast(Split, part), 1)).inputs.shape[1]
            if held < length:
                raise RecipeError(
                    f"--lengths {length}: the {part} part holds one row of {held} tokens at most; choose up to {held}"
                )
            found = evaluate(
                trained.model,
                task,
                cast(Split, part),
                rows=max(1, options.evaluation_rows * task.length // length),
                precision=options.precision,
                each=lambda done: report.evaluating(part, done),
            )
            if events is None:
                # Only where there is something to write.
                events = SummaryWriter(str(run / "lengths"))
                names = [name.replace("_", " ") for name in found.metrics]
                print_line("  ".join([f"{'rows of':>9}", *names]))
            values = zip(names, found.metrics.values(), strict=True)
            print_line("  ".join([f"{length:>9,}", *(f"{number(value):>{len(name)}}" for name, value in values)]))
            for name, value in found.metrics.items():
                events.add_scalar(f"{part}/{name} over length", value, length)
            events.flush()
    if events is not None:
        events.close()
    print_line(f"next  tensorboard --logdir {shlex.quote(str(run / 'lengths'))}")


def _numbers(lengths: str) -> list[int]:
    """The lengths, in order.

    Raises:
        RecipeError: one that is no length.
    """
    try:
        found = sorted({int(part) for part in lengths.split(",") if part.strip()})
    except ValueError:
        found = []
    if not found or found[0] < 1:
        raise RecipeError(f"--lengths takes whole numbers of tokens, as 512,1024,2048; got {lengths!r}")
    return found
