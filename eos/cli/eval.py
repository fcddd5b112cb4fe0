"""Evaluate a trained run on its held-out parts, or on other data."""

from pathlib import Path
from typing import cast

import click

from eos.cli.arguments import overrides as overrides_argument
from eos.errors import RecipeError, unknown

PARTS = ("validation", "test")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@overrides_argument
def command(run: Path, overrides: tuple[str, ...]) -> None:
    """Evaluate the model of the folder RUN.

    KEY=VALUE changes options of the task or of training (evaluation_rows, evaluation_tokens, precision, device);
    part=validation or part=test says what to evaluate on. task=NAME asks another question, where the model knows its
    tokens; another text is read in the tokens of the run.

    \b
    Examples:
      eos eval runs/demo
      eos eval runs/demo part=validation
      eos eval runs/demo task.source=other.txt
      eos eval runs/recall task=mqar_small task.test='[{length: 64, pairs: 16, rows: 1000}]'
    """
    part, rest = split(overrides)
    # Only now, so that help is shown without waiting for PyTorch.
    from rich.console import Console
    from rich.text import Text

    from eos.cli.heat import heat
    from eos.cli.output import console, print_columns, print_line
    from eos.cli.result import number
    from eos.tasks.task import Split
    from eos.training.evaluation import evaluate
    from eos.training.report import report_on
    from eos.training.trained import load_for_evaluation

    trained = load_for_evaluation(run, rest)
    options = trained.recipe.training
    with report_on(Console(stderr=True), steps=None) as report:
        report.note(trained.task.summary)
        found = evaluate(
            trained.model,
            trained.task,
            cast(Split, part),
            rows=options.evaluation_rows,
            precision=options.precision,
            tokens=options.evaluation_tokens,
            each=lambda done: report.evaluating(part, done),
            generated=True,
        )
    rows = [(f"{part} {name.replace('_', ' ')}", number(value)) for name, value in found.metrics.items()]
    print_columns((name, Text(value)) for name, value in [*rows, ("targets", f"{found.counts.targets:,}")])
    if (table := heat(found.metrics)) is not None:
        print_line()
        console().print(table)


def split(overrides: tuple[str, ...]) -> tuple[str, list[str]]:
    """The part to evaluate on, test where none is given, and the other overrides.

    Raises:
        RecipeError: an unknown part.
    """
    parts = [text.partition("=")[2] for text in overrides if text.startswith("part=")]
    if len(parts) > 1:
        raise RecipeError(f"part is given twice: {' and '.join(parts)}")
    if parts and parts[0] not in PARTS:
        raise RecipeError(unknown("part", parts[0], PARTS))
    return parts[0] if parts else "test", [text for text in overrides if not text.startswith("part=")]
