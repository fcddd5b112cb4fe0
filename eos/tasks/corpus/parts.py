"""A text cut into its training, validation and test part: 85, 5 and 10 %, each contiguous."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate, pairwise

from eos.errors import DataError
from eos.tasks.corpus.source import Source

PARTS = ("train", "validation", "test")
_ENDS = (0.85, 0.90)
_SNAP = 0.005


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one reading of a source has found.

    Arguments:
        digest: SHA-256 of the document, or of the documents' own SHA-256 where there are several.
        sizes: bytes of every document, in order.
    """

    digest: str
    sizes: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Size of the whole text."""
        return sum(self.sizes)


def survey(source: Source) -> Survey:
    """Read a source once.

    Raises:
        DataError: there is no text in it.
    """
    hashes, sizes = [], []
    for document in source.read():
        hashes.append(sha256(document))
        sizes.append(len(document))
    if not sizes:
        raise DataError(f"{source.description} is empty; name a text with something in it (task.source=PATH)")
    whole = hashes[0] if len(hashes) == 1 else sha256(b"".join(each.digest() for each in hashes))
    return Survey(digest=whole.hexdigest(), sizes=tuple(sizes))


def cut(source: Source, found: Survey, *, documents: bool) -> Iterator[tuple[str, bytes]]:
    """Every document, or what a part has of it, with the part's name; joined they are the text again.

    A part ends where a document ends if one does within 0.5 % of the text, else between two characters.

    Arguments:
        documents: whether the ends of documents mean anything; without, the text is one piece.
    """
    ends = [*accumulate(found.sizes)]
    cuts = [_snapped(round(share * ends[-1]), ends if documents else [], _SNAP * ends[-1]) for share in _ENDS]
    start = 0
    for document, end in zip(source.read(), ends, strict=True):
        if start + len(document) != end:
            raise DataError(f"{source.description} changed while it was being read; start again when it is at rest")
        marks = [0, *(between_characters(document, min(max(at - start, 0), len(document))) for at in cuts), end - start]
        for part, (low, high) in zip(PARTS, pairwise(marks), strict=True):
            if low < high:
                yield part, document[low:high]
        start = end


def _snapped(at: int, ends: list[int], reach: float) -> int:
    """The end nearest to ``at``, if within reach, else ``at`` itself."""
    after = bisect_left(ends, at)
    near = min(ends[max(after - 1, 0) : after + 1], key=lambda end: abs(end - at), default=at)
    return near if abs(near - at) <= reach else at


def between_characters(document: bytes, at: int) -> int:
    """The nearest place at or before ``at`` that isn't inside a UTF-8 character."""
    while 0 < at < len(document) and document[at] & 0xC0 == 0x80:
        at -= 1
    return at
