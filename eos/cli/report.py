"""Write a page that compares runs: which stage matters, by how much, and how sure that is."""

import shlex
from pathlib import Path

import click

from eos.cli.arguments import run_folders
from eos.cli.arguments import studies as studies_option


@click.command()
@run_folders
@studies_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default="report.html", show_default=True
)
@click.option("--no-data", is_flag=True, help="Leave out the folder with the full data beside the page.")
def command(runs: tuple[Path, ...], studies: tuple[str, ...], output: Path, no_data: bool) -> None:
    """Write one page about all runs and studies in the folders RUNS (default: runs).

    It is one file that needs no network, to mail or to keep. Beside it stands a folder with every number of every
    curve. eos dashboard shows the same page while runs are going on.

    \b
    Examples:
      eos report
      eos report runs/sweep -o sweep.html
      eos report runs --study postgresql://me@host/eos -o all.html
    """
    # Only now, so that help is shown without waiting.
    from eos.cli.output import print_line, progress
    from eos.dashboard.gather import Reader
    from eos.dashboard.write import write_page

    asked = [*map(str, runs), *(part for url in studies for part in ("--study", url)), "-o", str(output)]
    asked += ["--no-data"] * no_data
    reader = Reader(runs, storages=studies, command=shlex.join(["eos", "report", *asked]))
    with progress("reading runs") as each:
        found = reader.gather(each=each)
    written = write_page(found, output, data=not no_data)
    print_line(written.counts)
    print_line(f"page  {output}  ({output.stat().st_size / 1e6:.1f} MB)")
    if written.data is not None:
        print_line(f"data  {written.data}")
