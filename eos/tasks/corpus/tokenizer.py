"""How text becomes tokens and back: single bytes or byte-level byte pairs, without loss; or words."""

import json
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from eos.errors import DataError

Ids = npt.NDArray[np.uint32]
#: How other libraries write the end-of-text token.
END_OF_TEXT = "<|end_of_text|>"
#: What a word that training does not hold is read as; WikiText has it in its text.
UNKNOWN = "<unk>"
_LONE_BYTE = re.compile("([\udc80-\udcff])")


@dataclass(frozen=True, kw_only=True)
class Measures:
    """What every token of a vocabulary stands for, by its id.

    Arguments:
        bytes: how many.
        words_after_space: words that begin in it when whitespace or nothing comes before it.
        words_after_word: the same when a word comes before it.
        lines: line ends in it.
        ends_in_space: whether a word may begin right after it.
    """

    bytes: npt.NDArray[np.int64]
    words_after_space: npt.NDArray[np.int64]
    words_after_word: npt.NDArray[np.int64]
    lines: npt.NDArray[np.int64]
    ends_in_space: npt.NDArray[np.bool_]


class AbstractTokenizer(ABC):
    """Text to tokens and back. The last id is the end-of-text token, which no text contains.

    Arguments:
        pieces: the bytes of every token; the end-of-text token stands for none.
    """

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = [*pieces, b""]
        self.vocabulary = len(self.pieces)
        self.end_of_text = self.vocabulary - 1

    @cached_property
    def measures(self) -> Measures:
        """Bytes and words of every token; words are what whitespace (of ASCII) separates."""
        words = np.array([len(piece.split()) for piece in self.pieces])
        continues = np.array([bool(piece) and not piece[:1].isspace() for piece in self.pieces])
        return Measures(
            bytes=np.array([len(piece) for piece in self.pieces]),
            words_after_space=words,
            words_after_word=words - continues,
            lines=np.array([piece.count(b"\n") for piece in self.pieces]),
            ends_in_space=np.array([not piece or piece[-1:].isspace() for piece in self.pieces]),
        )

    @abstractmethod
    def encode(self, data: bytes) -> Ids:
        """The tokens of any bytes, so that their pieces joined are those bytes again (of words: the same words)."""

    @abstractmethod
    def to_json(self) -> str:
        """What :func:`from_json` makes the same tokenizer of."""

    @abstractmethod
    def pairs(self) -> tokenizers.Tokenizer:
        """A tokenizer of the tokenizers library with the same ids, but for the end-of-text token."""

    def shared(self) -> tokenizers.Tokenizer:
        """The same for libraries that read tokenizers' files, with :data:`END_OF_TEXT` as a special token."""
        tokenizer = self.pairs()
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.add_special_tokens([END_OF_TEXT])
        return tokenizer

    def decode(self, ids: Iterable[int]) -> str:
        """The text of the tokens; bytes that are not UTF-8 (a character cut in two, say) become U+FFFD."""
        return b"".join(self.pieces[i] for i in ids).decode("utf-8", "replace")


class ByteTokenizer(AbstractTokenizer):
    """Every byte is a token: ids 0 to 255, and 256 for the end of a text."""

    def __init__(self) -> None:
        super().__init__([bytes([byte]) for byte in range(256)])

    def encode(self, data: bytes) -> Ids:
        return np.frombuffer(data, np.uint8).astype(np.uint32)

    def to_json(self) -> str:
        return json.dumps({"model": {"type": "bytes"}})

    def pairs(self) -> tokenizers.Tokenizer:
        model = tokenizers.Tokenizer(models.BPE(vocab={sign: byte for byte, sign in enumerate(_signs())}, merges=[]))
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        return model


class PairTokenizer(AbstractTokenizer):
    """Byte-level byte-pair encoding: frequent neighbours become one token (Sennrich et al., arXiv:1508.07909)."""

    def __init__(self, model: tokenizers.Tokenizer) -> None:
        ids = model.get_vocab()
        byte_of = {sign: byte for byte, sign in enumerate(_signs())}
        super().__init__([bytes(byte_of[sign] for sign in token) for token in sorted(ids, key=ids.__getitem__)])
        self._model = model
        self._id_of_byte = [ids[sign] for sign in _signs()]

    @classmethod
    def train(cls, texts: Iterable[bytes], *, vocabulary: int) -> "PairTokenizer":
        """Learn at most ``vocabulary`` tokens, the 256 bytes and the end-of-text token among them."""
        model = tokenizers.Tokenizer(models.BPE())
        model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary - 1,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            special_tokens=[],
            show_progress=False,
        )
        model.train_from_iterator((text.decode("utf-8", "replace") for text in texts), trainer)
        return cls(model)

    def encode(self, data: bytes) -> Ids:
        # A byte that isn't UTF-8 stands for itself; what lies between such bytes is text.
        parts = _LONE_BYTE.split(data.decode("utf-8", "surrogateescape"))
        ids: list[int] = []
        for index, part in enumerate(parts):
            if index % 2:
                ids.append(self._id_of_byte[ord(part) - 0xDC00])
            elif part:
                ids.extend(self._model.encode(part, add_special_tokens=False).ids)
        return np.array(ids, np.uint32)

    def to_json(self) -> str:
        return str(self._model.to_str())

    def pairs(self) -> tokenizers.Tokenizer:
        return tokenizers.Tokenizer.from_str(self.to_json())


class WordTokenizer(AbstractTokenizer):
    """Words of a list, split at white space; the end of a line is the token that WikiText's counts call <eos>.

    That is the last id, which also leads a text, so no two documents are told apart. Spaces are not kept.

    Arguments:
        words: what the ids stand for; :data:`UNKNOWN`, which stands for all others, is among them.
    """

    def __init__(self, words: list[str]) -> None:
        super().__init__([f" {word}".encode() for word in words])
        self.pieces[-1] = b" \n"
        self._words = words
        self._ids = {word: index for index, word in enumerate(words)}

    @classmethod
    def train(cls, texts: Iterable[bytes]) -> "WordTokenizer":
        """All words of the texts, the most frequent first, and :data:`UNKNOWN`."""
        counts: Counter[str] = Counter({UNKNOWN: 0})
        for text in texts:
            counts.update(text.decode().split())
        return cls(sorted(counts, key=lambda word: (-counts[word], word)))

    def encode(self, data: bytes) -> Ids:
        unknown, ids = self._ids[UNKNOWN], []
        for number, line in enumerate(data.decode("utf-8", "replace").split("\n")):
            if number:
                ids.append(self.end_of_text)
            ids.extend([self._ids.get(word, unknown) for word in line.split()])
        return np.array(ids, np.uint32)

    def to_json(self) -> str:
        return json.dumps({"model": {"type": "words", "words": self._words}})

    def pairs(self) -> tokenizers.Tokenizer:
        vocabulary = {**self._ids, END_OF_TEXT: self.end_of_text}
        model = tokenizers.Tokenizer(models.WordLevel(vocab=vocabulary, unk_token=UNKNOWN))
        model.normalizer = normalizers.Replace("\n", f" {END_OF_TEXT} ")
        model.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        return model

    def shared(self) -> tokenizers.Tokenizer:
        """The same for libraries that read tokenizers' files: the end of a line is :data:`END_OF_TEXT` there."""
        tokenizer = self.pairs()
        tokenizer.add_special_tokens([END_OF_TEXT])
        return tokenizer


def from_json(text: str, origin: Path) -> AbstractTokenizer:
    """The tokenizer that :meth:`AbstractTokenizer.to_json` wrote; ``origin`` is the file, for the message."""
    try:
        model = json.loads(text)["model"]
        if model["type"] == "bytes":
            return ByteTokenizer()
        if model["type"] == "words":
            return WordTokenizer(model["words"])
        return PairTokenizer(tokenizers.Tokenizer.from_str(text))
    # The library raises bare exceptions.
    except Exception as error:
        raise DataError(f"{origin} is not a tokenizer of this project: {error}") from error


def _signs() -> list[str]:
    """The character by which byte-level tokenizers write each byte: itself if printable, else one from U+0100 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    rest = iter(range(0x100, 0x200))
    return [chr(byte if byte in printable else next(rest)) for byte in range(256)]
