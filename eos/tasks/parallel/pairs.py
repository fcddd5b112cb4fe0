"""Pairs of sentences made ready: checked, cut into parts, turned into tokens once, and kept."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
import tokenizers
import torch
from numpy.typing import NDArray

from eos.errors import DataError
from eos.tasks.cache import Advance, Arrays, cached
from eos.tasks.corpus.store import read_text, write_text
from eos.tasks.corpus.tokenizer import AbstractTokenizer, ByteTokenizer, PairTokenizer, from_json
from eos.tasks.parallel.source import NAMES, Pair, Parallel, ParallelSource
from eos.tasks.task import IGNORED, Batch

#: Of a text that is cut, what goes to validation and test, and no more than so many pairs.
SHARES, MOST = {"validation": 0.05, "test": 0.10}, 3000
TOKENIZER = "tokenizer.json"
_FORMAT = 1
_EVERY = 1000


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What one reading of all pairs has found.

    Arguments:
        source: their parts, without the pairs that were dropped.
        rows: how many each part has.
        dropped: how many were empty on a side, and are left out.
        digest: SHA-256 of all pairs and of where they were cut.
    """

    source: ParallelSource
    rows: Mapping[str, int]
    dropped: int
    digest: str


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The tokens of one part.

    Arguments:
        ids: of all sentences, one after the other.
        ends: where each ends [2N], the source of row i at 2 i, its target at 2 i + 1.
        end: the token that ends a sentence, and begins what is written.
    """

    ids: NDArray[np.unsignedinteger]
    ends: NDArray[np.int64]
    end: int

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """Where each sentence begins [N,2]."""
        starts: NDArray[np.int64] = np.concatenate([np.zeros(1, np.int64), self.ends[:-1]]).reshape(-1, 2)
        return starts

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Tokens of each sentence [N,2], without the end."""
        sizes: NDArray[np.int64] = self.ends.reshape(-1, 2) - self.starts
        return sizes

    def batch(self, chosen: NDArray[np.int64], *, length: int) -> Batch:
        """Some rows, padded to the longest of them; what is longer than ``length`` tokens is cut off.

        The source is s_1 … s_n and the end; the target, led by the end, is to be continued to its own.
        """
        source = np.minimum(self.sizes[chosen, 0], length - 1)
        places = np.arange(source.max() + 1)
        read = np.where(places < source[:, None], self._ids(chosen, 0, places), self.end)
        target = self.sizes[chosen, 1]
        places = np.arange(min(target.max() + 1, length))
        asked = np.where(places < target[:, None], self._ids(chosen, 1, places), self.end)
        inputs = np.concatenate([np.full((len(chosen), 1), self.end), asked[:, :-1]], 1)
        asked[places > target[:, None]] = IGNORED
        seen = np.arange(source.max() + 1) <= source[:, None]
        return Batch(
            inputs=torch.from_numpy(inputs),
            targets=torch.from_numpy(asked),
            source=torch.from_numpy(read),
            seen=None if seen.all() else torch.from_numpy(seen),
        )

    def _ids(self, chosen: NDArray[np.int64], side: int, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tokens at these places of the sentences; at those behind its end, any token."""
        where = self.starts[chosen, side, None] + places
        ids: NDArray[np.int64] = self.ids[np.minimum(where, len(self.ids) - 1)].astype(np.int64)
        return ids


def survey(source: ParallelSource, *, drop: bool, held_out: int | None) -> Survey:
    """Read all pairs once, and cut them into three parts where they are one text.

    Arguments:
        drop: leave out pairs that are empty on a side, instead of refusing them.
        held_out: pairs in validation and in test where they are cut; None: shares of the text.

    Raises:
        DataError: an empty sentence or part, or too few pairs.
    """
    digest, dropped = sha256(), 0
    rows = {}
    for part, parallel in source.parts.items():
        digest.update(part.encode())
        rows[part] = 0
        for row, pair in enumerate(parallel.read()):
            if not all(text.strip() for text in pair):
                if not drop:
                    side = 0 if not pair[0].strip() else 1
                    raise DataError(
                        f"{parallel.place(row, side)} is empty; mend the pair, or leave such pairs out with "
                        "task.empty=drop"
                    )
                dropped += 1
                continue
            rows[part] += 1
            digest.update("\0".join([*pair, ""]).encode("utf-8", "surrogatepass"))
    parts = {part: _filled(parallel) if drop else parallel for part, parallel in source.parts.items()}
    if len(parts) == 1:
        whole = rows["train"]
        few = [min(max(1, round(whole * share)), MOST) if held_out is None else held_out for share in SHARES.values()]
        if whole <= sum(few):
            raise DataError(
                f"{source.description} holds {whole:,} pairs, and {few[0]:,} to validate and {few[1]:,} to test leave "
                "none to train on; name a longer text, or fewer with task.held_out"
            )
        rows = {"train": whole - sum(few), "validation": few[0], "test": few[1]}
        parts = _cut(parts["train"], rows)
        digest.update(json.dumps(rows).encode())
    for part in NAMES:
        if not rows[part]:
            raise DataError(f"the {part} part of {source.description} holds no pairs of sentences")
    return Survey(source=replace(source, parts=parts), rows=rows, dropped=dropped, digest=digest.hexdigest())


def _filled(parallel: Parallel) -> Parallel:
    """Without the pairs that are empty on a side."""
    return replace(parallel, read=lambda: (pair for pair in parallel.read() if all(text.strip() for text in pair)))


def _cut(whole: Parallel, rows: Mapping[str, int]) -> dict[str, Parallel]:
    """Parts that follow one another."""

    def part(start: int, stop: int) -> Parallel:
        return replace(whole, read=lambda: islice(whole.read(), start, stop))

    parts, start = {}, 0
    for name, size in rows.items():
        parts[name] = part(start, start + size)
        start += size
    return parts


def make_tokenizer(found: Survey, *, cache: str, pairs: int | None) -> AbstractTokenizer:
    """Byte pairs of both languages, learned on the training part, or single bytes where ``pairs`` is None."""
    if pairs is None:
        return ByteTokenizer()
    key = sha256(json.dumps([_FORMAT, found.digest, pairs, tokenizers.__version__]).encode()).hexdigest()[:20]
    path = Path(cache).expanduser() / "tokenizers" / f"parallel-{key}.json"
    if path.exists():
        return load_tokenizer(path)
    texts = (text.encode() for pair in found.source.parts["train"].read() for text in pair)
    tokenizer = PairTokenizer.train(texts, vocabulary=pairs)
    write_text(path, tokenizer.to_json())
    return tokenizer


def load_tokenizer(path: Path) -> AbstractTokenizer:
    """The tokenizer in a file.

    Raises:
        DataError: it is none.
    """
    return from_json(read_text(path), path)


def make_pairs(found: Survey, tokenizer: AbstractTokenizer, *, cache: str) -> dict[str, Pairs]:
    """The tokens of every part; made once for one text and tokenizer.

    Raises:
        DataError: the cache cannot be written.
    """
    dtype = np.uint16 if tokenizer.vocabulary <= 1 << 16 else np.uint32

    def make(advance: Advance) -> Arrays:
        arrays: Arrays = {}
        for part, parallel in found.source.parts.items():
            rows, ends = [], []
            for row, text in enumerate(_texts(parallel.read())):
                rows.append(tokenizer.encode(text).astype(dtype))
                ends.append(rows[-1].size)
                if row % (2 * _EVERY) == 0:
                    advance(_EVERY)
            arrays[f"{part}_ids"] = np.concatenate(rows)
            arrays[f"{part}_ends"] = np.cumsum(np.array(ends, np.int64))
        return arrays

    identity = {"parallel": _FORMAT, "digest": found.digest, "tokenizer": tokenizer.to_json()}
    arrays = cached(cache, identity, make, what="Making tokens", of=sum(found.rows.values()))
    end = tokenizer.end_of_text
    return {part: Pairs(ids=arrays[f"{part}_ids"], ends=arrays[f"{part}_ends"], end=end) for part in NAMES}


def _texts(pairs: Iterator[Pair]) -> Iterator[bytes]:
    for pair in pairs:
        for text in pair:
            yield text.encode()
