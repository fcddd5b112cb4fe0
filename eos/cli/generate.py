"""Let a trained run write, or draw."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, cast

import click

if TYPE_CHECKING:
    from torch import Tensor

    from eos.tasks.pictures.task import AbstractPictureTask
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
@click.option("--out", type=click.Path(path_type=Path), metavar="FILE.png", help="Of a run on images: draw them here.")
@click.option("--samples", default=64, show_default=True, type=click.IntRange(min=1), help="How many images to draw.")
@click.option(
    "--complete",
    type=click.FloatRange(min=0, max=1, max_open=True),
    metavar="SHARE",
    help="Draw on from this upper share of test images, each shown above what is made of it, 0 ≤ SHARE < 1.",
)
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
    out: Path | None,
    samples: int,
    complete: float | None,
) -> None:
    """Write on from PROMPT with the model of the folder RUN, or draw images with it.

    The text goes to standard output as it is drawn, the time a token took to standard error.

    \b
    Examples:
      eos generate runs/demo "To be, or "
      eos generate runs/demo "def main" --temperature 0.5 --top-p 0.95
      eos generate runs/digits --out digits.png --temperature 1
      eos generate runs/digits --out halves.png --complete 0.5 --samples 16
    """
    # Only now, so that help is shown without waiting for PyTorch.
    import torch

    from eos.errors import DataError
    from eos.models import generate, stream
    from eos.tasks.pictures.sheet import check_file
    from eos.tasks.pictures.task import AbstractPictureTask
    from eos.training.config import Device
    from eos.training.trained import load_for_decoding

    if out is not None:
        check_file(out)
    trained = load_for_decoding(run, device=cast(Device, device))
    place = next(trained.model.parameters()).device
    if isinstance(trained.task, AbstractPictureTask):
        if out is None:
            raise DataError("the model of this run draws images: say where to, with --out FILE.png")
        if complete is None:
            known = None
            start = torch.tensor([trained.task.encode(prompt)] * samples)
        else:
            known = _test_images(run, samples)
            start = known[:, : 1 + _kept(trained.task, complete)]
        rest = generate(
            trained.model,
            start.to(place),
            tokens=trained.task.length + 1 - start.shape[1],
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            capture=capture,
        )
        _save(trained.task, torch.cat([start, rest.cpu()], 1), known, out)
        return
    if out is not None or complete is not None:
        raise DataError("the model of this run writes text: --out and --complete are for runs on images")
    given = torch.tensor([trained.task.encode(prompt)], device=place)
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


def _test_images(run: Path, samples: int) -> "Tensor":
    """The ids of the first test images [N, 1 + H·W·C], led by what begins an image; their data is read again."""
    import torch

    from eos.training.trained import load_for_evaluation

    batch = next(load_for_evaluation(run).task.evaluation_batches("test", samples))
    return torch.cat([batch.inputs[:, :1], batch.targets], 1)


def _kept(task: "AbstractPictureTask", share: float) -> int:
    """How many ids the upper share of an image is, in whole rows of pixels."""
    height, width, channels = task.size
    return int(share * height) * width * channels


def _save(task: "AbstractPictureTask", ids: "Tensor", known: "Tensor | None", out: Path) -> None:
    """Write a sheet of images [N, 1 + H·W·C]; where known ones are given, each of a row stands above its own."""
    from eos.tasks.pictures.sheet import save_picture, sheet

    pictures = [task.picture(row[1:].numpy()) for row in ids]
    above = [] if known is None else [task.picture(row[1:].numpy()) for row in known]
    save_picture(sheet(pictures, above=above), out)
    click.echo(f"{len(ids)} images of {' × '.join(map(str, task.size))} in {out}", err=True)
