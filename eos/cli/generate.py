"""Let a trained run write."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from eos.tasks.task import AbstractTask

#: No character of UTF-8 is longer.
LONGEST_CHARACTER = 4


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("prompt", default="")
@click.option("--tokens", default=400, show_default=True, metavar="N", help="How many tokens to write, ≥ 0.")
@click.option("--temperature", default=0.8, show_default=True, help="0 takes the most likely token each time.")
@click.option("--top-k", type=int, help="Draw among the K most likely tokens, ≥ 1.")
@click.option("--top-p", type=float, help="Draw among the fewest tokens with this probability in sum, 0 < p ≤ 1.")
@click.option("--seed", default=0, show_default=True, help="Of the draws: the same seed writes the same.")
@click.option(
    "--capture/--no-capture", default=True, show_default=True, help="On a GPU: replay the steps as a CUDA graph."
)
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True)
def command(
    run: Path,
    prompt: str,
    tokens: int,
    temperature: float,
    top_k: int | None,
    top_p: float | None,
    seed: int,
    capture: bool,
    device: str,
) -> None:
    """Write on from PROMPT with the model of the folder RUN.

    The text goes to standard output as it is drawn, the time a token took to standard error.

    \b
    Examples:
      eos generate runs/demo "To be, or "
      eos generate runs/demo "def main" --temperature 0.5 --top-p 0.95
    """
    # Only now, so that help is shown without waiting for PyTorch.
    import torch

    from eos.models import stream
    from eos.training.config import Device
    from eos.training.trained import load_for_decoding

    trained = load_for_decoding(run, device=cast(Device, device))
    given = torch.tensor([trained.task.encode(prompt)], device=next(trained.model.parameters()).device)
    drawn = stream(
        trained.model,
        given,
        tokens=tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        seed=seed,
        capture=capture,
    )
    click.echo(prompt, nl=False)
    times = [perf_counter()]

    def timed() -> Iterator[int]:
        for token in drawn:
            yield int(token)
            times.append(perf_counter())

    for text in as_text(timed(), trained.task):
        click.echo(text, nl=False)
    click.echo()
    if len(times) > 2:
        each = (times[-1] - times[1]) / (len(times) - 2)
        click.echo(
            f"{len(times) - 1} tokens, {1000 * each:.2f} ms each ({1 / each:,.0f} tokens/s); "
            f"{1000 * (times[1] - times[0]):.0f} ms to read the prompt of {given.shape[1]} tokens",
            err=True,
        )


def as_text(ids: Iterable[int], task: "AbstractTask") -> Iterator[str]:
    """Decode tokens as they come; one that ends inside a character waits for the rest of it."""
    waiting: list[int] = []
    for token in ids:
        waiting.append(token)
        text = task.decode(waiting)
        if not text.endswith("\N{REPLACEMENT CHARACTER}") or len(waiting) >= LONGEST_CHARACTER:
            yield text
            waiting = []
    if waiting:
        yield task.decode(waiting)
