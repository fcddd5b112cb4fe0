"""Show a page that compares runs while they are going on."""

import shlex
from pathlib import Path

import click

from eos.cli.arguments import run_folders
from eos.cli.arguments import studies as studies_option


@click.command()
@run_folders
@studies_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(0, 65535), default=8050, show_default=True, help="0: a free one.")
def command(runs: tuple[Path, ...], studies: tuple[str, ...], host: str, port: int) -> None:
    """Show all runs and studies in the folders RUNS (default: runs) in a browser, fresh every five seconds.

    It answers this machine alone unless --host says otherwise. TensorBoard and optuna-dashboard are linked where they
    run at their usual port. Ctrl-C ends it. eos report writes the same page as a file.

    \b
    Examples:
      eos dashboard
      eos dashboard runs/sweep --port 8051
      ssh -L 8050:127.0.0.1:8050 cluster eos dashboard /shared/runs
    """
    # Only now, so that help is shown without waiting.
    from eos.cli.output import print_line, progress
    from eos.dashboard.gather import Reader
    from eos.dashboard.serve import Board, beside, is_local, make_server, serve

    asked = [*map(str, runs), *(part for url in studies for part in ("--study", url))]
    reader = Reader(runs, storages=studies, command=shlex.join(["eos", "dashboard", *asked]))
    with progress("reading runs") as each:
        # What was read stays with the reader: the board then looks for changes alone.
        reader.gather(each=each)
    board = Board(reader, links=beside)
    server = make_server(board, host=host, port=port)
    if not is_local(host):
        print_line(f"Whoever reaches {host} can read these runs: nobody is asked for a password.", style="bold")
    try:
        serve(board, server, ready=lambda url: print_line(f"{url}  (Ctrl-C ends it)"))
    except KeyboardInterrupt:
        print_line("ended")
