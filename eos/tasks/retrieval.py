"""Whether two papers are bound by a citation, both read as bytes (LRA Retrieval).

Equation: y(MLP[u, v, u ∘ v, u − v]), u and v what one encoder makes of each text
Metric: accuracy over pairs
Chance: 1/2
Floor: the more common class
Source: arXiv:2011.04006, section 2.2.3; its public reader, lra_benchmarks/matching; AAN: Radev et al., The ACL
    Anthology Network Corpus, 2013
"""

from pathlib import Path

from torch import nn

from eos.config import ModelRecipe, option, options
from eos.errors import DataError
from eos.models import PairClassifier
from eos.tasks.cache import Advance
from eos.tasks.lra.files import Stamp, lines_of, stamp
from eos.tasks.lra.labelled_text import label_of
from eos.tasks.lra.rows import Rows, RowWriter, cached_rows
from eos.tasks.lra.task import AbstractRaggedTask, RaggedOptions


class RetrievalTask(AbstractRaggedTask):
    """A byte is the id one above it, and 0 fills. The first text of a pair is the inputs, the second the source.

    A row of the files is label, two names and two texts with tabs between; quotes are bytes like others.
    """

    kind = PairClassifier

    @options
    class Options(RaggedOptions):
        """Where the pairs are, and what a model reads of them."""

        source: str | None = option(
            None, "the folder with new_aan_pairs.train.tsv, new_aan_pairs.eval.tsv and new_aan_pairs.test.tsv"
        )
        longest: int = option(4000, "bytes T of each text that a model sees, from its beginning", low=1)

    def read(self) -> dict[str, Rows]:
        chosen: RetrievalTask.Options = self.options
        if chosen.source is None:
            raise DataError("task.source is not set: name the folder of new_aan_pairs.train.tsv and its two others")
        folder = Path(chosen.source).expanduser()
        names = {"train": "train", "validation": "eval", "test": "test"}
        files = {
            part: stamp(folder / f"new_aan_pairs.{name}.tsv", option="task.source") for part, name in names.items()
        }
        identity = {
            "task": "retrieval",
            "code": _CODE,
            "longest": chosen.longest,
            "files": {part: file.identity for part, file in files.items()},
        }

        def make(advance: Advance) -> dict[str, Rows]:
            return {part: _read(file, chosen.longest, advance) for part, file in files.items()}

        size = sum(file.size for file in files.values())
        return cached_rows(chosen.cache, identity, make, what=f"reading {folder} (bytes)", of=size)

    def head(self, recipe: ModelRecipe) -> nn.Module:
        return PairClassifier(recipe, self.classes, vocabulary=self.vocabulary, pool=self.pool)

    @property
    def classes(self) -> int:
        return 2

    @property
    def vocabulary(self) -> int:
        return 257


_CODE = 1
_FIELDS = 5


def _read(file: Stamp, longest: int, advance: Advance) -> Rows:
    """The pairs of a file.

    Raises:
        DataError: a row is malformed, by its line; or there is none.
    """
    writer = RowWriter(documents=2, longest=longest)
    for row, line in lines_of(file):
        where = f"{file.path}, row {row}"
        fields = line.split(b"\t")
        if len(fields) != _FIELDS:
            raise DataError(f"{where}: label, two names, two texts with tabs between are 5 fields, got {len(fields)}")
        label = label_of(fields[0].decode(errors="replace"), classes=2, where=where)
        if not fields[3] or not fields[4]:
            raise DataError(f"{where}: text {1 if not fields[3] else 2} is empty; leave the row out")
        writer.add(label, fields[3], fields[4])
        advance(len(line) + 1)
    rows = writer.finish()
    if not rows.labels.size:
        raise DataError(f"{file.path} holds no rows")
    return rows
