"""Let a trained run translate sentences."""

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import click

from eos.errors import DataError, RecipeError


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("sentence", required=False)
@click.option(
    "--input",
    "file",
    type=click.File("rb"),
    help="A file of sentences, one a line; without, and without SENTENCE: stdin.",
)
@click.option("--beams", type=int, help="Beginnings that beam search keeps, 1 for none; the run's where not given.")
@click.option("--penalty", type=float, help="With beams: log p is divided by the tokens to this power, ≥ 0.")
@click.option("--rows", default=32, show_default=True, help="Sentences at once, ≥ 1.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def command(
    run: Path,
    sentence: str | None,
    file: BinaryIO | None,
    beams: int | None,
    penalty: float | None,
    rows: int,
    device: str,
) -> None:
    """Translate SENTENCE, or every line of a file, with the model of the folder RUN (of task=translation).

    An empty line stays empty, so that line i of the output belongs to line i of the input.

    \b
    Examples:
      eos translate runs/numbers "I have found forty-two old boats today."
      eos translate runs/numbers --beams 4 --input test.en > test.de
    """
    if sentence is not None and file is not None:
        raise RecipeError("give a sentence or --input FILE, not both")
    if rows < 1:
        raise RecipeError(f"--rows must be ≥ 1, got {rows}")
    if penalty is not None and penalty < 0:
        raise RecipeError(f"--penalty must be ≥ 0, got {penalty}")
    # Only now, so that help is shown without waiting for PyTorch.
    from eos.tasks.translation import TranslationTask
    from eos.training.config import Device
    from eos.training.trained import load_restored

    trained = load_restored(run, device=cast(Device, device))
    task = trained.task
    if not isinstance(task, TranslationTask):
        raise DataError(f"{run} is no run of task=translation; where its model writes, eos generate {run} lets it")
    given = (
        iter([sentence]) if sentence is not None else lines(file or sys.stdin.buffer, file.name if file else "stdin")
    )
    # a person who types wants each line answered
    at_once = 1 if file is None and sys.stdin.isatty() else rows
    while texts := list(islice(given, at_once)):
        asked = [text for text in texts if text.strip()]
        answers = iter(
            task.translate(
                trained.model,
                asked,
                device=next(trained.model.parameters()).device,
                rows=rows,
                beams=task.options.beams if beams is None else beams,
                penalty=task.options.penalty if penalty is None else penalty,
            )
        )
        for text in texts:
            click.echo(next(answers) if text.strip() else "")


def lines(file: Iterable[bytes], name: str) -> Iterator[str]:
    """The lines of a file of this name, without their ends.

    Raises:
        DataError: a line is not UTF-8.
    """
    for number, line in enumerate(file, 1):
        try:
            yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{name}, line {number}: byte {error.start + 1} of the line is not UTF-8") from None
