"""A text in its training, validation and test part: the source's own, or cut: 85, 5 and 10 %, each contiguous."""

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate, pairwise

from eos.errors import DataError
from eos.tasks.corpus.source import PARTS, Source

_ENDS = (0.85, 0.90)
_SNAP = 0.005


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one reading of a source has found.

    Arguments:
        digest: SHA-256 of the document, or of the documents' own SHA-256 where there are several.
        sizes: bytes of every document, in order.
        own: whether the source has parts of its own; the digest then tells which part a document is in.
    """

    digest: str
    sizes: tuple[int, ...]
    own: bool = False

    @property
    def bytes(self) -> int:
        """Size of the whole text."""
        return sum(self.sizes)


def survey(source: Source) -> Survey:
    """Read a source once.

    Raises:
        DataError: there is no text in it, or in one of its own parts.
    """
    hashes, sizes, parts = [], [], []
    for part, document in source.documents():
        hashes.append(sha256(document))
        sizes.append(len(document))
        parts.append(part)
    if not sizes:
        raise DataError(f"{source.description} is empty; name a text with something in it (task.source=PATH)")
    if source.parts is not None:
        for name in PARTS:
            if name not in parts:
                raise DataError(f"the {name} part of {source.description} is empty; every part needs a text")
        listed = [f"{part} {each.hexdigest()}\n" for part, each in zip(parts, hashes, strict=True)]
        return Survey(digest=sha256("".join(listed).encode()).hexdigest(), sizes=tuple(sizes), own=True)
    whole = hashes[0] if len(hashes) == 1 else sha256(b"".join(each.digest() for each in hashes))
    return Survey(digest=whole.hexdigest(), sizes=tuple(sizes))


def cut(
    source: Source, found: Survey, *, documents: bool, between: Callable[[bytes, int], int] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Every document, or what a part has of it, with the part's name; joined they are the text again.

    Where the source has no parts of its own, a part ends where a document ends if one does within 0.5 % of the text,
    else between two characters.

    Arguments:
        documents: whether the ends of documents mean anything; without, the text is one piece.
        between: where a document may be cut, at or before a place; None: :func:`between_characters`.
    """
    between = between or between_characters
    if found.own:
        for (part, document), size in zip(source.documents(), found.sizes, strict=True):
            if part is None or len(document) != size:
                raise _changed(source)
            yield part, document
        return
    ends = [*accumulate(found.sizes)]
    cuts = [_snapped(round(share * ends[-1]), ends if documents else [], _SNAP * ends[-1]) for share in _ENDS]
    start = 0
    for document, end in zip(source.read(), ends, strict=True):
        if start + len(document) != end:
            raise _changed(source)
        marks = [0, *(between(document, min(max(at - start, 0), len(document))) for at in cuts), end - start]
        for part, (low, high) in zip(PARTS, pairwise(marks), strict=True):
            if low < high:
                yield part, document[low:high]
        start = end


def _changed(source: Source) -> DataError:
    return DataError(f"{source.description} changed while it was being read; start again when it is at rest")


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


def between_words(document: bytes, at: int) -> int:
    """The nearest place at or before ``at`` after a line's end, or else after a space, or else between characters."""
    if not 0 < at < len(document):
        return at
    return document.rfind(b"\n", 0, at) + 1 or document.rfind(b" ", 0, at) + 1 or between_characters(document, at)
