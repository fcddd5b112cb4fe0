"""Labelled rows of tokens, of any lengths: written one by one, kept as flat arrays, handed out padded."""

from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eos.errors import DataError
from eos.tasks.cache import Advance, Arrays, cached
from eos.tasks.task import Batch

#: Stands after the end of a row.
PADDING = 0


@dataclass(frozen=True, kw_only=True)
class Ragged:
    """Rows of token ids in one flat array.

    Arguments:
        tokens: ids, of all rows [N].
        starts: where each row begins [rows].
        lengths: how many tokens it has [rows], ≥ 1.
    """

    tokens: NDArray[np.uint8]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    def row(self, index: int) -> NDArray[np.uint8]:
        """The tokens of one row."""
        return self.tokens[self.starts[index] : self.starts[index] + self.lengths[index]]

    def some(self, chosen: NDArray[np.int64]) -> "Ragged":
        """Some of the rows; the tokens are shared."""
        return Ragged(tokens=self.tokens, starts=self.starts[chosen], lengths=self.lengths[chosen])

    def padded(self, *, add: int = 0, width: int | None = None) -> tuple[Tensor, Tensor]:
        """The rows as one array, with id 0 after their ends, and their lengths.

        Arguments:
            add: to every id of a row.
            width: columns, at least as many as the longest row has; None takes that.
        """
        columns = np.arange(int(self.lengths.max()) if width is None else width)
        inside = columns < self.lengths[:, None]
        ids = np.full(inside.shape, PADDING, np.int64)
        ids[inside] = self.tokens[(self.starts[:, None] + columns)[inside]]
        ids[inside] += add
        return torch.from_numpy(ids), torch.from_numpy(self.lengths.astype(np.int64))


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Labelled rows.

    Arguments:
        labels: of every row [rows], ≥ 0.
        documents: the tokens of every row; two where a row is a pair.
    """

    labels: NDArray[np.int64]
    documents: tuple[Ragged, ...]

    def some(self, chosen: NDArray[np.int64]) -> "Rows":
        """Some of the rows."""
        return Rows(labels=self.labels[chosen], documents=tuple(each.some(chosen) for each in self.documents))


class RowWriter:
    """Takes rows one after the other.

    Arguments:
        documents: how many a row has.
        longest: tokens of a document that are kept, from its beginning.
    """

    def __init__(self, *, documents: int, longest: int) -> None:
        self._longest = longest
        self._labels = array("q")
        self._tokens = [bytearray() for _ in range(documents)]
        self._lengths = [array("q") for _ in range(documents)]

    def add(self, label: int, *documents: bytes) -> None:
        """A row; no document is empty."""
        self._labels.append(label)
        for tokens, lengths, document in zip(self._tokens, self._lengths, documents, strict=True):
            kept = document[: self._longest]
            tokens += kept
            lengths.append(len(kept))

    def finish(self) -> Rows:
        """All rows so far."""
        documents = []
        for held, counts in zip(self._tokens, self._lengths, strict=True):
            lengths = np.array(counts, np.int64)
            tokens = np.frombuffer(bytes(held), np.uint8)
            documents.append(Ragged(tokens=tokens, starts=np.cumsum(lengths) - lengths, lengths=lengths))
        return Rows(labels=np.array(self._labels, np.int64), documents=tuple(documents))


def cached_rows(
    cache: str, identity: Mapping[str, Any], make: Callable[[Advance], Mapping[str, Rows]], *, what: str, of: int
) -> dict[str, Rows]:
    """Parts of labelled rows, made once for one identity; the arguments are those of :func:`eos.tasks.cache.cached`."""

    def arrays(advance: Advance) -> Arrays:
        found: Arrays = {}
        for part, rows in make(advance).items():
            found[f"{part}.labels"] = rows.labels
            for index, document in enumerate(rows.documents):
                for name in _FLAT:
                    found[f"{part}.{index}.{name}"] = getattr(document, name)
        return found

    held = cached(cache, {**identity, "format": _FORMAT}, arrays, what=what, of=of)
    parts: dict[str, Rows] = {}
    for name in held:
        part, _, rest = name.partition(".")
        if rest == "labels":
            count = sum(key.startswith(f"{part}.") and key.endswith(".tokens") for key in held)
            documents = tuple(
                Ragged(**{flat: held[f"{part}.{index}.{flat}"] for flat in _FLAT}) for index in range(count)
            )
            parts[part] = Rows(labels=np.asarray(held[name]), documents=documents)
    return parts


_FLAT = ("tokens", "starts", "lengths")
_FORMAT = 1


def cut_apart(rows: int, shares: Mapping[str, float], *, where: str) -> dict[str, NDArray[np.int64]]:
    """The numbers of ``rows`` rows cut into parts, drawn by chance but always the same; what is left is ``train``.

    Arguments:
        shares: of the rows, for each of the other parts; 0 leaves a part out.
        where: what holds the rows, for the message.

    Raises:
        DataError: a part would be empty.
    """
    order = np.random.Generator(np.random.Philox(key=np.array([0, rows], np.uint64))).permutation(rows)
    parts: dict[str, NDArray[np.int64]] = {}
    begin = 0
    for part, share in shares.items():
        if not share:
            continue
        size = int(share * rows)
        parts[part] = np.sort(order[begin : begin + size])
        begin += size
    parts["train"] = np.sort(order[begin:])
    for part, chosen in parts.items():
        if not chosen.size:
            raise DataError(f"{where} has {rows} rows, too few: nothing would be left for the {part} part")
    return parts


Padded = Literal["ignored", "seen"]


def batch_of(rows: Rows, *, padded: Padded, longest: int, add: int = 0) -> Batch:
    """A batch of whole rows; of pairs, the second of each is the source.

    Arguments:
        padded: ignored: the model is told where rows end, and they are as long as the longest; seen: it is not, and
            id 0 fills them up.
        longest: how many tokens rows are filled up to.
        add: to every id of a row.
    """
    width = longest if padded == "seen" else None
    (inputs, lengths), *others = (document.padded(add=add, width=width) for document in rows.documents)
    told = padded == "ignored"
    source = seen = None
    for ids, counts in others:
        source, seen = ids, torch.arange(ids.shape[1]) < counts[:, None]
    return Batch(
        inputs=inputs,
        targets=torch.from_numpy(rows.labels),
        lengths=lengths if told else None,
        source=source,
        seen=seen if told else None,
    )
