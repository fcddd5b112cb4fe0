"""Search for networks that mix softmax attention and linear mixers layer by layer."""

from pathlib import Path

import click

from search.cli.search import SearchGroup


@click.group(cls=SearchGroup)
def command() -> None:
    """Search for networks that mix softmax attention and linear mixers layer by layer.

    \b
      eos nas KEY=VALUE …         begin an architecture search, or go on with it
      eos nas report FOLDER       write its report anew
      eos nas check FOLDER        whether shared weights rank as training from scratch does
      eos nas export FOLDER N     member N of its front as recipes that train by name

    KEY=VALUE names recipes and changes their keys as for eos train: they say the run that all networks differ from.
    Beside them:

    \b
      search=NAME        a recipe of an architecture search (default: nas_mqar); search.KEY=VALUE changes a key of it
      name=NAME          its name (default: that of the recipe); its folder is runs/nas/NAME
      folder=PATH        where it stands
      until=PHASE        the last phase that is done now
      skip=PHASE,PHASE   phases that are passed over: without rank, networks evolve by their shared weights

    \b
    Phases, each done once; the same command goes on after any stop:
      table       latency of every part on this device, and what their sums are worth
      supernet    one network trained that holds the weights of all, until the ranking of some holds still
      score       networks scored with those weights
      rank        trees that predict scores, and baselines that they have to beat
      evolve      the front of quality against a cost; random, softmax-only and linear-only searches beside it
      finalists   members of the front scored again, on the whole validation part
      retrain     some of them from scratch, beside networks laid out by hand that cost as much
      report      report.md, tables, the front as a picture

    \b
    Examples:
      eos nas search=nas_mqar
      eos nas search=nas_lm search.constraints.parameters=5e5 until=evolve
      eos nas search=nas_lm search.mixers={softmax: llama, gla: gla, tnl: tnl layout=[main]}
    """


@command.command()
@click.argument("overrides", nargs=-1)
def run(overrides: tuple[str, ...]) -> int:
    """Begin an architecture search, or go on with it (the same as eos nas KEY=VALUE)."""
    from search.cli.nas_run import run_nas

    return run_nas(overrides)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
def report(folder: Path) -> int:
    """Write the report of a search anew, of the phases that are done."""
    from eos.cli.output import print_line
    from search.cli.nas_run import reopen
    from search.nas.report import write_report

    for name in write_report(reopen(folder)):
        print_line(str(folder / name))
    return 0


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--networks", type=click.IntRange(min=3), default=24, show_default=True, help="How many are trained.")
@click.option("--seeds", type=click.IntRange(min=1), default=2, show_default=True, help="Runs of each.")
def check(folder: Path, networks: int, seeds: int) -> int:
    """Whether shared weights rank as training from scratch does: Kendall's τ with its bootstrap interval.

    Some of the scored networks are trained with the budget of the phase retrain; the same command goes on. With
    several seeds it also tells how much one agrees with the others, which no ranking can well exceed.
    """
    from search.cli.nas_run import run_check

    return run_check(folder, networks, seeds)


@command.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("number", type=click.IntRange(min=1))
@click.option("--name", help="Of the recipes (default: the folder's name and NUMBER).")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), default=Path("plugin"), show_default=True,
              help="A folder for recipes of your own, which --plugins takes.")  # fmt: skip
def export(folder: Path, number: int, name: str | None, into: Path) -> int:
    """Write member NUMBER of the front, the cheapest being 1, as recipes that train by name."""
    from eos.cli.arguments import again
    from search.cli.nas_run import export_member

    written = export_member(folder, number, into=into, name=name)
    click.echo(f"written: {written.model} and {written.experiment}")
    click.echo(again("train", f"experiment={written.name}", plugins=[into]))
    return 0
