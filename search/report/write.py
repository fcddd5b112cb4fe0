"""Writes a report into a folder: report.md, tables as CSV and LaTeX, figures as SVG and PDF."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from eos.errors import EOSError
from eos.training.files import replacing
from search.report.effect_tables import differences_table, effects_table, explained_table
from search.report.figures import figures
from search.report.interactions import Refuses
from search.report.learned import Learned, answer, counts, learn, notes, rerun
from search.report.observed import observe
from search.report.pair_tables import cells_table, interactions_table
from search.report.table import Table, markdown
from search.report.trial_tables import best_table, importances_table, trials_table
from search.study import Study
from search.worker import prepared

PAGE = "report.md"
#: The table that each figure stands above.
ABOVE = {"effects": "effects", "cells": "cells", "importances": "importances", "best": "costs", "trials": "history"}
SAYS = {
    "effects": "The effect of each level with its intervals",
    "cells": "Means of combinations",
    "importances": "Importances of parameters",
    "costs": "Quality against cost; the front in steps",
    "history": "Every trial, and the best so far",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was written.

    Arguments:
        answer: in some sentences.
        counts: of trials, by how they ended.
        effects: the table of marginal effects.
        folder: where it is.
        files: their names.
    """

    answer: str
    counts: str
    effects: Table
    folder: Path
    files: list[str]


def write_report(study: Study, folder: Path, *, into: Path | None = None) -> Report:
    """Analyse a study and write what was learned.

    Arguments:
        folder: of its runs.
        into: where the report goes; None: ``report`` in that folder.

    Raises:
        StudyError: no trial has finished.
    """
    into = folder / "report" if into is None else into
    observed = observe(study)
    refuses, refusals = _refuses(study, folder)
    learned = learn(observed, folder, refuses=refuses, refusals=refusals)
    made = [
        effects_table(learned),
        explained_table(learned),
        differences_table(learned),
        interactions_table(learned),
        cells_table(learned),
        importances_table(learned),
        best_table(learned),
        trials_table(learned),
    ]
    into.mkdir(parents=True, exist_ok=True)
    drawn = figures(learned, into)
    texts = {PAGE: _page(learned, made, drawn)}
    for table in made:
        texts[f"{table.name}.csv"] = table.to_csv()
        if table.header:
            texts[f"{table.name}.tex"] = table.to_latex()
    for name, text in texts.items():
        with replacing(into / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    files = [*texts, *(f"{name}.{kind}" for name in drawn for kind in ("svg", "pdf"))]
    return Report(answer=answer(learned), counts=counts(observed), effects=made[0], folder=into, files=files)


def _refuses(study: Study, folder: Path) -> tuple[Refuses | None, str]:
    """The space's own predicate, where this installation has the space and its data; else why not."""
    if not (folder / "data").is_dir():
        return None, f"the study's data is not in {folder}"
    try:
        space, _ = prepared(study, folder)
    except (EOSError, OSError) as error:
        return None, str(error).splitlines()[0]
    return space.refuses, ""


def _page(learned: Learned, made: list[Table], drawn: list[str]) -> str:
    observed, record = learned.observed, learned.observed.record
    names, training = record.base.names, record.base.training
    base = names.get("experiment", f"{names.get('model', 'a model')} on {names.get('task', record.base.task.name)}")
    budget = f"{training.steps} steps" if training.steps is not None else "the budget of its recipe"
    better = "more" if record.quality.higher else "less"
    lines = [
        f"# What study {markdown(observed.name)} learned",
        "",
        markdown(answer(learned)),
        "",
        f"{counts(observed)}. Each is {markdown(base)} with other choices, trained for {budget}; the metric is "
        f"{markdown(record.quality.metric)} on the validation part, of which {better} is better.",
        "",
        *[f"* {markdown(note)}" for note in notes(learned)],
        "",
        "The winner with seeds that it was not picked by:",
        "",
        "```",
        *rerun(learned.observed, learned.folder, learned.best[0].winner),
        "```",
        "",
    ]
    for table in made:
        figure = ABOVE.get(table.name)
        text = table.to_markdown()
        if figure in drawn and figure is not None:
            title, _, rest = text.partition("\n")
            text = f"{title}\n\n![{SAYS[figure]}]({figure}.svg)\n{rest}"
        lines.append(text)
    lines += ["## Files", "", f"Written by `eos search report {shlex.quote(str(learned.folder))}`.", ""]
    for table in made:
        also = f", [{table.name}.tex]({table.name}.tex)" if table.header else ""
        lines += [f"[{table.name}.csv]({table.name}.csv){also}:", ""]
        lines += [f"* `{column.name}`: {column.meaning}" for column in table.columns]
        lines.append("")
    lines.append(f"Figures, each as SVG and PDF: {', '.join(drawn)}.")
    return "\n".join(lines) + "\n"
