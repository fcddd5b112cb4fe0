"""Translation of sentences by an encoder and a decoder, graded by BLEU.

Equation: p(y | x) = Π_t p(y_t | y_1 … y_{t−1}, x); BLEU = min(1, e^(1 − r/c)) · (Π_{n ≤ 4} p_n)^(1/4), in percent
Metric: BLEU of what the model writes by itself (sacrebleu), and nats a token of the reference
Chance: 0
Floor: the source, copied
Source: Papineni et al., BLEU, ACL 2002; arXiv:1804.08771 (sacrebleu); arXiv:1706.03762, section 5 (the setting)
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eos.config import CrossMixer, ModelRecipe, option, options
from eos.errors import CompositionError, DataError, install
from eos.models import EncoderDecoder, translate
from eos.models.encoder import refuse_padding
from eos.models.encoder_decoder import encoder_recipe
from eos.tasks.corpus.store import read_text, write_text
from eos.tasks.corpus.tokenizer import AbstractTokenizer
from eos.tasks.parallel.pairs import (
    TOKENIZER,
    Pairs,
    Survey,
    load_tokenizer,
    make_pairs,
    make_tokenizer,
    survey,
)
from eos.tasks.parallel.source import open_parallel
from eos.tasks.task import IGNORED, AbstractTask, Batch, Counts, Split, Standard

#: Batches of a training part whose rows are sorted by length together.
POOL = 64
#: What is written has at most so many tokens for each of the source, and so many more.
RATIO, MORE = 2, 10
#: Byte pairs for the sentences built in, and for any others.
FEW, MANY = 512, 8192
_RECORD = "translation.json"


@dataclass(frozen=True, kw_only=True)
class _Data:
    """What was made ready beside the tokenizer."""

    found: Survey
    parts: dict[str, Pairs]
    trained: NDArray[np.int64]


class TranslationTask(AbstractTask):
    """From a sentence to one of another language; both are written in byte pairs that the languages share.

    The model's recipe describes the decoder as it is, and the encoder with mixers that look in
    ``encoder_direction``. Rows of a batch are about equally long: every epoch shuffles the pairs, sorts pools of 64
    batches by length, and shuffles the batches; the last batch of an epoch is filled up with pairs of its beginning.
    Held-out pairs are all kept, whatever their length: their loss is of at most ``length`` tokens a side, their BLEU
    of the whole.
    """

    kind = EncoderDecoder

    @options
    class Options:
        """Which sentences, how they become tokens, what reads them, and how BLEU is found."""

        source: str | None = option(
            None,
            "a file of source sentences (.gz too), a tsv file, a folder of train, valid and test files, or hf:DATASET; "
            "null: numbers built in, English to German",
        )
        target: str | None = option(None, "the file of target sentences, line i of it for line i of a source file")
        languages: list[str] = option(
            [], "source and target as a folder's files end or a dataset names its columns, [en, de]"
        )
        columns: list[int] = option([1, 2], "columns of source and target in a tsv file, counted from 1")
        subset: str | None = option(None, "configuration of the dataset")
        held_out: int | None = option(
            None,
            "pairs of validation and of test where one text is cut; null: 5 and 10 %, at most 3000 each",
            low=1,
        )
        empty: Literal["refuse", "drop"] = option("refuse", "what becomes of pairs that are empty on a side")
        tokens: Literal["bpe", "bytes"] = option("bpe", "byte pairs learned on the training part, or single bytes")
        vocabulary: int | None = option(
            None,
            "token ids of bpe, with the 256 bytes and the end; null: 512 for the numbers built in, else 8192",
            low=257,
            high=2**20,
        )
        length: int = option(64, "tokens a training row may have on either side, the end among them", low=2)
        long: Literal["drop", "cut"] = option("drop", "what becomes of longer pairs in training")
        padding: bool = option(
            True, "false: batches of sources of one length, for encoders that cannot leave padding out"
        )
        encoder_direction: Literal["both", "forward", "all"] = option(
            "both", "what the encoder's mixers see; attention and convolutions see all where it is both"
        )
        cross: Literal["softmax", "linear"] = option("softmax", "how the decoder reads what was encoded")
        cross_heads: int = option(4, "heads of that", low=1)
        beams: int = option(1, "beginnings that beam search keeps for BLEU; 1 takes the likeliest token", low=1)
        penalty: float = option(1.0, "with beams: log p is divided by the tokens to this power", low=0, high=4)
        translated: int | None = option(
            None, "sentences of a held-out part that are translated for BLEU, its first; null: all", low=1
        )
        bleu_tokens: Literal["13a", "intl", "char", "zh", "none"] = option("13a", "how sacrebleu finds words")
        cache: str = option("~/.cache/eos", "folder that keeps tokens between runs")

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._tokenizer: AbstractTokenizer | None = None
        self._data: _Data | None = None
        # of the latest epoch, and how many batches one has
        self._order: tuple[tuple[int, int, int], NDArray[np.int64]] | None = None
        self._counts: dict[int, int] = {}

    def prepare(self, folder: Path) -> None:
        self._prepare(folder, other=False)

    def prepare_other(self, folder: Path) -> None:
        self._prepare(folder, other=True)

    def restore(self, folder: Path) -> None:
        _known(folder)
        self._tokenizer = load_tokenizer(folder / TOKENIZER)

    def _prepare(self, folder: Path, *, other: bool) -> None:
        chosen: TranslationTask.Options = self.options
        _scorer(chosen.bleu_tokens)
        source = open_parallel(
            chosen.source,
            chosen.target,
            subset=chosen.subset,
            languages=chosen.languages,
            columns=chosen.columns,
        )
        found = survey(source, drop=chosen.empty == "drop", held_out=chosen.held_out)
        built = {name: getattr(chosen, name) for name in ("encoder_direction", "cross", "cross_heads")}
        if other or (folder / _RECORD).exists():
            known = _known(folder)
            for name, value in built.items():
                if known[name] != value:
                    raise DataError(
                        f"the run's model was built with task.{name} = {known[name]}, and this task has {value}"
                    )
            if not other and known["digest"] != found.digest:
                raise DataError(
                    f"the run in {folder} was made from pairs of sha256 {str(known['digest'])[:12]}…, and "
                    f"{source.description} has {found.digest[:12]}…; give it the pairs it was made from, or start a "
                    "new run"
                )
            self._tokenizer = load_tokenizer(folder / TOKENIZER)
        else:
            few = FEW if chosen.source is None else MANY
            pairs = (chosen.vocabulary or few) if chosen.tokens == "bpe" else None
            self._tokenizer = make_tokenizer(found, cache=chosen.cache, pairs=pairs)
            write_text(folder / TOKENIZER, self._tokenizer.to_json())
            write_text(folder / _RECORD, json.dumps({"digest": found.digest, **built}))
        parts = make_pairs(found, self._tokenizer, cache=chosen.cache)
        short = (parts["train"].sizes < chosen.length).all(1) | (chosen.long == "cut")
        if not short.any():
            raise DataError(
                f"every pair of the training part of {source.description} is longer than task.length = "
                f"{chosen.length} tokens; name a larger length, or cut them with task.long=cut"
            )
        self._data = _Data(found=found, parts=parts, trained=np.flatnonzero(short))
        self._order, self._counts = None, {}

    def model(self, recipe: ModelRecipe) -> nn.Module:
        chosen: TranslationTask.Options = self.options
        encoder = encoder_recipe(recipe, chosen.encoder_direction)
        if chosen.padding and (reason := refuse_padding(encoder)):
            raise CompositionError(f"{reason}; take batches of sources of one length with task.padding=false")
        cross = CrossMixer(kind=chosen.cross, heads=chosen.cross_heads)
        return EncoderDecoder(encoder, recipe, vocabulary=self.vocabulary, cross=cross)

    @property
    def summary(self) -> str:
        chosen: TranslationTask.Options = self.options
        found, rows = self._ready.found, self._ready.found.rows
        sizes = self._ready.parts["train"].sizes
        long = int((sizes >= chosen.length).any(1).sum())
        notes = [
            f"{long:,} of them longer than {chosen.length} tokens and {'dropped' if chosen.long == 'drop' else 'cut'}"
        ]
        if found.dropped:
            notes.append(f"{found.dropped:,} pairs empty on a side left out")
        return (
            f"{found.source.description}: {rows['train']:,} pairs to train on ({'; '.join(notes)}), "
            f"{rows['validation']:,} to validate, {rows['test']:,} to test, sha256 {found.digest}; "
            f"{self.vocabulary:,} token ids; {sizes[:, 0].mean():.1f} tokens become {sizes[:, 1].mean():.1f}; "
            f"sacrebleu {self._signature}"
        )

    @property
    def standard(self) -> Standard:
        """The floor is of the test part."""
        sources, references = self._texts("test")
        floor = self._bleu(sources, references)
        return Standard(metric="bleu", chance=0.0, floor=floor, trivial=f"the source copied; {self._signature}")

    @property
    def vocabulary(self) -> int:
        return self._words.vocabulary

    @property
    def length(self) -> int:
        return int(self.options.length)

    def train_batch(self, seed: int, step: int, rows: int) -> Batch:
        if rows not in self._counts:
            self._counts[rows] = self._count(rows)
        epoch, place = divmod(step, self._counts[rows])
        key = (seed, epoch, rows)
        if self._order is None or self._order[0] != key:
            self._order = (key, self._shuffled(seed, epoch, rows))
        return self._ready.parts["train"].batch(self._order[1][place], length=self.length)

    def _count(self, rows: int) -> int:
        """Batches of an epoch."""
        if self.options.padding:
            return -(-len(self._ready.trained) // rows)
        _, equal = np.unique(self._sources(), return_counts=True)
        return int((-(-equal // rows)).sum())

    def _sources(self) -> NDArray[np.int64]:
        """Tokens of the source of every training row, as it is read."""
        return self._read(self._ready.parts["train"].sizes[self._ready.trained, 0])

    def _read(self, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """Tokens of sources, as much of them as a row holds."""
        read: NDArray[np.int64] = np.minimum(sizes, self.length - 1)
        return read

    def _shuffled(self, seed: int, epoch: int, rows: int) -> NDArray[np.int64]:
        """The rows of every batch of an epoch [batches, rows]."""
        trained = self._ready.trained
        generator = np.random.Generator(np.random.Philox(key=np.array([seed, epoch], np.uint64)))
        order = generator.permutation(len(trained))
        if self.options.padding:
            sizes = self._ready.parts["train"].sizes[trained].sum(1)
            order = np.resize(order, self._count(rows) * rows)
            pools = np.arange(len(order)) // (POOL * rows)
            order = order[np.lexsort((sizes[order], pools))]
        else:
            sizes = self._sources()[order]
            order = order[np.argsort(sizes, kind="stable")]
            equal = np.split(order, np.flatnonzero(np.diff(np.sort(sizes))) + 1)
            order = np.concatenate([np.resize(some, -(-len(some) // rows) * rows) for some in equal])
        batches: NDArray[np.int64] = trained[generator.permutation(order.reshape(-1, rows))]
        return batches

    def evaluation_batches(self, split: Split, rows: int) -> Iterator[Batch]:
        pairs = self._ready.parts[split]
        for chosen in self._groups(self._read(pairs.sizes[:, 0]), rows):
            yield pairs.batch(chosen, length=self.length)

    def _groups(self, sizes: NDArray[np.int64], rows: int) -> Iterator[NDArray[np.int64]]:
        """Rows that are read together, short sources first; of one size, where there is no padding."""
        order = np.argsort(sizes, kind="stable")
        cuts = np.flatnonzero(np.diff(sizes[order])) + 1
        for some in [order] if self.options.padding else np.split(order, cuts):
            for start in range(0, len(some), rows):
                yield some[start : start + rows]

    def count(self, batch: Batch) -> Counts:
        return Counts(targets=int((batch.targets != IGNORED).sum()), rows=len(batch.inputs))

    def metrics(self, nats: float, counts: Counts) -> dict[str, float]:
        return {"nats_per_token": nats / counts.targets if counts.targets else float("nan")}

    def generated(self, model: nn.Module, split: Split, *, device: torch.device, rows: int) -> dict[str, float]:
        chosen: TranslationTask.Options = self.options
        sources, references = self._texts(split, chosen.translated)
        written = self.translate(model, sources, device=device, rows=rows, beams=chosen.beams, penalty=chosen.penalty)
        return {"bleu": self._bleu(written, references)}

    def translate(
        self,
        model: nn.Module,
        sentences: Sequence[str],
        *,
        device: torch.device,
        rows: int,
        beams: int = 1,
        penalty: float = 1.0,
    ) -> list[str]:
        """Sentences of the target language, one for each of the source. Only after :meth:`restore` or :meth:`prepare`.

        Arguments:
            model: of :meth:`model`, on ``device``.
            rows: sentences at once, ≥ 1.
            beams, penalty: as in :func:`eos.models.translate`.

        Raises:
            DataError: a model of another kind.
        """
        if not isinstance(model, EncoderDecoder):
            raise DataError(f"a {type(model).__name__} translates nothing: that takes a run of task=translation")
        ids = [self.encode(sentence) for sentence in sentences]
        sizes = np.array([len(row) for row in ids], np.int64)
        written = [""] * len(ids)
        for chosen in self._groups(sizes, rows):
            source = torch.full((len(chosen), int(sizes[chosen].max())), self._words.end_of_text)
            for place, row in enumerate(chosen):
                source[place, : sizes[row]] = torch.tensor(ids[row])
            lengths = torch.from_numpy(sizes[chosen])
            found = translate(
                model,
                source.to(device),
                end=self._words.end_of_text,
                limits=(RATIO * lengths + MORE).to(device),
                seen=(torch.arange(source.shape[1]) < lengths[:, None]).to(device),
                beams=beams,
                penalty=penalty,
            )
            for row, text in zip(chosen, found, strict=True):
                written[row] = self.decode(text)
        return written

    def encode(self, text: str) -> list[int]:
        return [*map(int, self._words.encode(text.encode())), self._words.end_of_text]

    def decode(self, ids: list[int]) -> str:
        # a byte that ends a line is a token like any other, and a sentence is one line
        return " ".join(self._words.decode(ids).splitlines())

    @property
    def _words(self) -> AbstractTokenizer:
        if self._tokenizer is None:
            raise DataError("the translation task isn't ready: call prepare(folder) or restore(folder) first")
        return self._tokenizer

    @property
    def _ready(self) -> _Data:
        if self._data is None:
            raise DataError("the pairs of the translation task aren't ready: call prepare(folder) first")
        return self._data

    def _texts(self, split: Split, many: int | None = None) -> tuple[list[str], list[str]]:
        """Sources and references of a held-out part, in its own order."""
        pairs = list(islice(self._ready.found.source.parts[split].read(), many))
        return [source for source, _ in pairs], [target for _, target in pairs]

    def _bleu(self, written: list[str], references: list[str]) -> float:
        return float(_scorer(self.options.bleu_tokens).corpus_score(written, [references]).score)

    @cached_property
    def _signature(self) -> str:
        """What a figure has to be published with."""
        scorer = _scorer(self.options.bleu_tokens)
        scorer.corpus_score(["a"], [["a"]])
        return str(scorer.get_signature())


def _scorer(tokens: str) -> Any:
    try:
        from sacrebleu import BLEU
    except ImportError as error:
        raise DataError(f"task=translation is graded with the package sacrebleu: {install('translation')}") from error
    # force: what is tokenized already is so on purpose, and told of in every run
    return BLEU(tokenize=tokens, force=True)


def _known(folder: Path) -> dict[str, Any]:
    """What :meth:`TranslationTask.prepare` wrote down."""
    path = folder / _RECORD
    if not path.exists():
        raise DataError(f"{folder} holds no run on translation: there is no {_RECORD}")
    try:
        record = json.loads(read_text(path))
        return {name: record[name] for name in ("digest", "encoder_direction", "cross", "cross_heads")}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error!r}); start a new run in another folder") from error
