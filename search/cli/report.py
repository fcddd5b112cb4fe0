"""Prints what a study has taught."""

from pathlib import Path

from rich.table import Table
from rich.text import Text

from eos.cli.output import console, print_columns, print_line
from search.report.write import write_report
from search.storage import StudyError
from search.study import Study


def show_report(study: Study, folder: Path, *, into: Path | None) -> None:
    """Write the report; print its answer, the effects of stages, and where the files are."""
    try:
        report = write_report(study, folder, into=into)
    except OSError as error:
        raise StudyError(
            f"the report cannot be written: {error.strerror}: {error.filename}; choose another place with --into DIR"
        ) from error
    print_line(f"study {study.name}: {report.counts}", style="bold")
    print_line(report.answer)
    if report.effects.shown:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        numbers = ("trials", "effect", "p (Holm)")
        header, *rows = report.effects.visible()
        for name in header:
            table.add_column(name, justify="right" if name in numbers else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(Text, row))
        print_line()
        console().print(table)
        print_line(report.effects.caption, style="dim")
        print_line()
    pages = [name for name in report.files if name.endswith(".md")]
    kinds: dict[str, list[str]] = {}
    for name in report.files:
        stem, _, kind = name.rpartition(".")
        if kind != "md":
            kinds.setdefault(stem, []).append(kind)
    beside = [f"{stem}.{{{','.join(each)}}}" if len(each) > 1 else f"{stem}.{each[0]}" for stem, each in kinds.items()]
    print_columns([("report", Text(str(report.folder / pages[0]))), ("beside", Text(" ".join(beside)))])
