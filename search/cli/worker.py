"""Work on a search that stands in a storage, beside any number of others."""

import click


@click.command()
@click.argument("study", nargs=-1, required=True)
def command(study: tuple[str, ...]) -> int:
    """Work on a search that stands in a storage, beside any number of others.

    STUDY is the search's folder or name, or storage=URL study=NAME on another machine. A worker trains trials until
    none waits; where one is killed, the others run its trial once more.

    \b
      hours=8        no trial begins after so long
      folder=PATH    where its runs go (default: as the search was begun)

    \b
    Examples:
      eos worker runs/search/stages-gla-overwriting
      eos worker storage=postgresql://user@host/eos study=stages-gla-overwriting
    """
    from search.cli.run import run_worker

    return run_worker(study)
