"""Search over stages and their options, at matched budgets, and say what was learned."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from search.study import Study


class SearchGroup(click.Group):
    """A command whose ``KEY=VALUE …`` runs a search; a first word without ``=`` names what else is done with one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if "=" in args[0] and not ctx.resilient_parsing:
            return "run", self.commands["run"], args
        return super().resolve_command(ctx, args)


@click.group(cls=SearchGroup)
def command() -> None:
    """Search over stages and their options, at matched budgets, and say what was learned.

    \b
      eos search KEY=VALUE …      begin a search, or go on with it
      eos search show STUDY       how it stands
      eos search report STUDY     which stage matters, by how much, and how sure that is
      eos search export STUDY N   trial N as a recipe that trains by name
      eos search serve URL        let many workers use one storage through a proxy

    KEY=VALUE names recipes and changes their keys as for eos train: they say the run that all candidates differ from.
    Beside them:

    \b
      search=NAME        a search recipe (default: stages); search.KEY=VALUE changes a key of it
      trials=60          how many candidates (default 50); more later is more
      hours=8            no trial begins after so long
      jobs=2             so many workers on this machine, each with its share of the cores
      on=slurm, on=ray   jobs of SLURM or tasks of a Ray cluster in their place; options={…} as submitit's executor or
                         a Ray task takes them, address=HOST:PORT of the cluster
      study=NAME         its name (default: SEARCH-MODEL-TASK); its folder is runs/search/NAME
      storage=URL        a journal file (default), sqlite:///PATH, postgresql://…, mysql://…, grpc://HOST:PORT
      folder=PATH        where the runs go
      from=STUDY         take over the trials of another study that are still valid

    The first Ctrl-C saves what is running; the same command goes on. More workers: eos worker.

    \b
    Examples:
      eos search experiment=overwriting trials=20
      eos search experiment=overwriting search.expand=[linear,ones] search.match.params=5e4 jobs=2
      eos search experiment=mqar_small search.objectives=[quality,state] search.sampler=nsga2 trials=200
    """


@command.command()
@click.argument("overrides", nargs=-1)
def run(overrides: tuple[str, ...]) -> int:
    """Begin a search, or go on with it (the same as eos search KEY=VALUE)."""
    from search.cli.request import split
    from search.cli.run import run_search

    return run_search(split(overrides))


@command.command()
@click.argument("study")
@click.argument("settings", nargs=-1)
def show(study: str, settings: tuple[str, ...]) -> int:
    """How a search stands: its best trials, and what is running.

    STUDY is its folder or name; or give storage=URL and study=NAME.
    """
    from search.cli.run import show_study

    found, folder = _located(study, settings)
    show_study(found, folder)
    return 0


@command.command()
@click.argument("study")
@click.argument("settings", nargs=-1)
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), help="Default: report in the study's folder.")
def report(study: str, settings: tuple[str, ...], into: Path | None) -> int:
    """What was learned: which stage matters, by how much, and how sure that is.

    STUDY is its folder or name; or give storage=URL and study=NAME. Writes report.md, its tables as CSV and LaTeX
    (booktabs), and its figures as SVG and PDF.
    """
    from search.cli.report import show_report

    found, folder = _located(study, settings)
    show_report(found, folder, into=into)
    return 0


@command.command()
@click.argument("study")
@click.argument("number", type=int)
@click.argument("settings", nargs=-1)
@click.option("--name", help="Of the recipe (default: STUDY_NUMBER).")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False), default=Path("plugin"), show_default=True,
              help="A folder for recipes of your own, which --plugins takes.")  # fmt: skip
def export(study: str, number: int, settings: tuple[str, ...], name: str | None, into: Path) -> int:
    """Write trial NUMBER as recipes that train by name."""
    from eos.cli.arguments import again
    from search.export import export_trial

    found, folder = _located(study, settings)
    written = export_trial(found, folder, number, into=into, name=name)
    click.echo(f"written: {written.model} and {written.experiment}")
    click.echo(again("train", f"experiment={written.name}", plugins=[into]))
    return 0


@command.command()
@click.argument("url")
@click.option("--port", default=13000, show_default=True, help="To listen on.")
@click.option("--host", default="127.0.0.1", show_default=True, help="To listen on; 0.0.0.0 for other machines.")
def serve(url: str, port: int, host: str) -> int:
    """Let many workers use one storage through a proxy, which keeps its connections few."""
    import optuna
    from optuna.storages import run_grpc_proxy_server

    from search.storage import open_storage, without_password

    storage = open_storage(url)
    click.echo(f"{without_password(url)} is served as storage=grpc://{host}:{port}; Ctrl-C ends it", err=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        # Chosen knowing that it may change.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        run_grpc_proxy_server(storage, host=host, port=port)
    return 0


def _located(study: str, settings: tuple[str, ...]) -> "tuple[Study, Path]":
    from search.cli.request import split
    from search.place import located

    own = ("storage", "study", "folder")
    if "=" in study:
        return located(None, split((study, *settings), own).own)
    return located(study, split(settings, own).own)
