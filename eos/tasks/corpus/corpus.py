"""A text made ready: read, cut into parts, turned into tokens once, and kept."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np
import tokenizers
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from eos.errors import DataError
from eos.tasks.corpus.parts import Survey, between_characters, between_words, cut, survey
from eos.tasks.corpus.source import PARTS, Source
from eos.tasks.corpus.store import TokenFile, TokenWriter, read_text, stored, write_text
from eos.tasks.corpus.tokenizer import AbstractTokenizer, ByteTokenizer, PairTokenizer, WordTokenizer, from_json

Tokens = Literal["bytes", "bpe", "words"]
Between = Callable[[bytes, int], int]

_FORMAT = 1
_BLOCK = 1 << 18
_TOKENIZER = "tokenizer.json"
_RECORD = "text.json"


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """A text as tokens.

    Arguments:
        tokenizer: how it became tokens.
        packed: whether documents follow each other, so that rows may hold a boundary.
        summary: one line for the log.
        files: the tokens of each part; none when only the tokenizer was restored.
    """

    tokenizer: AbstractTokenizer
    packed: bool
    summary: str
    files: dict[str, TokenFile] = field(default_factory=dict)


def make_corpus(
    source: Source,
    folder: Path,
    *,
    cache: Path,
    tokens: Tokens,
    vocabulary: int,
    documents: bool,
    length: int,
    other: bool = False,
) -> Corpus:
    """Read a source and make it ready, or find it ready.

    Arguments:
        folder: the run's; the tokenizer is kept in it, and taken from it if it is there.
        cache: keeps tokenizers and tokens between runs.
        tokens: single bytes, byte pairs or words; both are learned on the training part.
        vocabulary: token ids of byte pairs.
        documents: whether the ends of documents mean anything; without, the text is one piece.
        length: tokens of a row; every part must hold one row and the token after it.
        other: the text need not be the run's; the folder must hold a run's tokenizer, and is only read.

    Raises:
        DataError: the text is empty, too short or not text, the cache cannot be written, the run was made from
            another text, or the folder isn't that of a run where ``other`` needs one.
    """
    record = _required_record(folder) if other else _read_record(folder)
    found = survey(source)
    if record is not None and record["digest"] != found.digest and not other:
        was, now = str(record["digest"])[:12], found.digest[:12]
        raise DataError(
            f"the run in {folder} was made from a text of sha256 {was}…, and {source.description} has {now}…; "
            "give it the text it was made from, or start a new run"
        )
    if record is not None:
        tokenizer = _load_tokenizer(folder / _TOKENIZER)
    else:
        tokenizer = _make_tokenizer(
            source, found, cache=cache, tokens=tokens, vocabulary=vocabulary, documents=documents
        )
    between = between_words if isinstance(tokenizer, WordTokenizer) else between_characters

    def fill(writers: dict[str, TokenWriter]) -> None:
        for part, begins, data in _blocks(source, found, documents=documents, between=between, title="Making tokens"):
            if begins:
                writers[part].write(np.array([tokenizer.end_of_text], np.uint32))
            writers[part].write(tokenizer.encode(data))

    place = cache / "tokens" / _key(found.digest, tokenizer.to_json(), documents)
    files = stored(place, parts=PARTS, vocabulary=tokenizer.vocabulary, fill=fill)
    for part in PARTS:
        if (held := files[part].tokens) <= length:
            raise DataError(
                f"the text is too short: the {part} part of {source.description} has {held} tokens, and one row of "
                f"task.length = {length} needs {length + 1}; name a longer text or a smaller length"
            )
    summary = (
        f"{source.description}: {found.bytes:,} bytes in {len(found.sizes):,} document(s), sha256 {found.digest}; "
        f"{tokenizer.vocabulary:,} token ids; tokens: {', '.join(f'{files[part].tokens:,} {part}' for part in PARTS)}"
    )
    packed = documents and len(found.sizes) > 1
    if record is None:
        write_text(folder / _TOKENIZER, tokenizer.to_json())
        write_text(folder / _RECORD, json.dumps({"digest": found.digest, "packed": packed, "summary": summary}))
    return Corpus(tokenizer=tokenizer, packed=packed, summary=summary, files=files)


def restore_corpus(folder: Path) -> Corpus:
    """What :func:`make_corpus` left in a run's folder: enough to encode and decode.

    Raises:
        DataError: the folder isn't that of a run on text.
    """
    record = _required_record(folder)
    return Corpus(
        tokenizer=_load_tokenizer(folder / _TOKENIZER), packed=bool(record["packed"]), summary=str(record["summary"])
    )


def _make_tokenizer(
    source: Source, found: Survey, *, cache: Path, tokens: Tokens, vocabulary: int, documents: bool
) -> AbstractTokenizer:
    if tokens == "bytes":
        return ByteTokenizer()
    words = tokens == "words"
    made_from = ("words",) if words else (vocabulary, documents, tokenizers.__version__)
    path = cache / "tokenizers" / f"{_key(found.digest, *made_from)}.json"
    if path.exists():
        return _load_tokenizer(path)
    blocks = _blocks(
        source,
        found,
        documents=documents,
        between=between_words if words else between_characters,
        title="Listing words" if words else "Learning byte pairs",
    )
    texts = (data for part, _, data in blocks if part == "train")
    tokenizer = WordTokenizer.train(texts) if words else PairTokenizer.train(texts, vocabulary=vocabulary)
    write_text(path, tokenizer.to_json())
    return tokenizer


def _blocks(
    source: Source, found: Survey, *, documents: bool, between: Between, title: str
) -> Iterator[tuple[str, bool, bytes]]:
    """The text in handy blocks: (part, whether a document begins there, bytes), with a progress bar on a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    begun: set[str] = set()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(title, total=found.bytes)
        for part, piece in cut(source, found, documents=documents, between=between):
            begins = documents or part not in begun
            begun.add(part)
            start = 0
            while start < len(piece):
                end = _block_end(piece, start, between)
                yield part, begins and start == 0, piece[start:end]
                progress.advance(bar, end - start)
                start = end


def _block_end(piece: bytes, start: int, between: Between) -> int:
    """Where a block that begins at ``start`` ends: after its last line, if it cannot hold the whole rest."""
    limit = start + _BLOCK
    if limit >= len(piece):
        return len(piece)
    end = piece.rfind(b"\n", start, limit) + 1 or between(piece, limit)
    return end if end > start else between_characters(piece, limit)


def _key(*parts: object) -> str:
    return sha256(json.dumps([_FORMAT, *parts]).encode()).hexdigest()[:32]


def _load_tokenizer(path: Path) -> AbstractTokenizer:
    return from_json(read_text(path), path)


def _required_record(folder: Path) -> dict[str, object]:
    record = _read_record(folder)
    if record is None:
        raise DataError(f"{folder} holds no {_RECORD}; name the folder of a run on text")
    return record


def _read_record(folder: Path) -> dict[str, object] | None:
    path = folder / _RECORD
    if not path.exists():
        return None
    try:
        record = json.loads(read_text(path))
        return {key: record[key] for key in ("digest", "packed", "summary")}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r}); start a new run in another folder") from error
