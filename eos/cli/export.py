"""Write a run, or a public checkpoint, as a model of Hugging Face transformers."""

from pathlib import Path

import click


@click.command()
@click.argument("source", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path))
def command(source: Path, out: Path) -> None:
    """Write SOURCE to the folder OUT, which transformers reads after "import eos.hub".

    SOURCE is a run, or a checkpoint of another project in a layout that eos list checkpoints shows: config.json and
    safetensors files. Pickled weights are not read, for they may run code.

    \b
    Examples:
      eos export runs/demo demo-model
      eos export mamba-130m-hf my-mamba
    """
    # Only now, so that help is shown without waiting for transformers.
    from eos.hub.export import export

    model = export(source, out)
    count = sum(parameter.numel() for parameter in model.parameters())
    click.echo(f"{out}: {count:,} parameters, {model.config.vocab_size:,} tokens. To use it from Python:")
    click.echo(f'  import eos.hub; model = transformers.AutoModelForCausalLM.from_pretrained("{out}")')
