"""Language models under the questions of lm-evaluation-harness."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tokenizers
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn.functional import log_softmax
from transformers import AutoTokenizer

from eos.errors import DataError, EOSError, RecipeError, RunError, install, unknown
from eos.hub.pretrained import EOSForCausalLM
from eos.models import LanguageModel, stream
from eos.tasks.corpus.tokenizer import END_OF_TEXT
from eos.training.config import Device
from eos.training.fit import torch_device
from eos.training.trained import load_for_decoding

try:
    from lm_eval import simple_evaluate
    from lm_eval.api.model import TemplateLM
    from lm_eval.tasks import TaskManager
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window
except ImportError as error:
    raise EOSError(f"eos harness needs lm-evaluation-harness: {install('harness')} ({error})") from error

#: Tokens that an answer has at most, where a task does not say.
ANSWER = 256


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of one task.

    Arguments:
        task, metric: their names in the harness.
        value: as it says.
        error: standard error of the value; None where it gives none.
    """

    task: str
    metric: str
    value: float
    error: float | None


def run_harness(
    source: Path,
    tasks: Sequence[str],
    *,
    include: Path | None = None,
    shots: int | None = None,
    limit: int | None = None,
    rows: int = 16,
    length: int = 2048,
    device: Device = "auto",
) -> list[Score]:
    """What a model scores on tasks of lm-evaluation-harness.

    Arguments:
        source: a run on text, or a folder that ``eos export`` wrote.
        tasks: their names, at least one.
        include: a folder of task files of one's own, which may run code of theirs.
        shots: solved examples before every question; None: as the task says.
        limit: questions of each task; None asks all.
        rows: texts at once, ≥ 1.
        length: tokens of a text that are read at most, the last ones.
        device: auto takes a CUDA device where there is one.

    Raises:
        RecipeError: an unknown task.
        DataError: a task's data cannot be had, or the model has no tokenizer.
        RunError: there is no model in ``source``.
    """
    if include is not None and not include.is_dir():
        raise DataError(f"there is no folder {include} with task files")
    if not tasks:
        raise RecipeError("name at least one task, as --tasks arc_easy,piqa")
    with _quiet():
        manager = _manager(tasks, include)
        model, tokenizer = _loaded(source)
        asked = _Asked(model.to(torch_device(device)).eval(), tokenizer, rows=rows, length=length)
        try:
            found = simple_evaluate(
                model=asked,
                tasks=list(tasks),
                num_fewshot=shots,
                limit=limit,
                task_manager=manager,
                bootstrap_iters=1000,
                log_samples=False,
            )
        except torch.OutOfMemoryError as error:
            raise RunError(f"{rows} texts at once need more memory than there is; lower --rows or --length") from error
        except EOSError:
            raise
        # The harness raises whatever its tasks, their templates and datasets raise.
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"the harness cannot ask {', '.join(tasks)}: {reason} ({type(error).__name__}); data that is not here "
                "yet needs the network"
            ) from error
    return list(_scores(found["results"]))


class _Asked(TemplateLM):  # type: ignore[misc]
    """A language model as the harness asks it; the harness's own class for transformers needs three more packages.

    Arguments:
        model: on its device, in evaluation mode.
        tokenizer: that has END_OF_TEXT, which stands before a text without a context.
        rows: texts at once.
        length: tokens that are read at most.
    """

    def __init__(self, model: LanguageModel, tokenizer: tokenizers.Tokenizer, *, rows: int, length: int) -> None:
        super().__init__()
        self._model = model
        self._tokens = tokenizer
        self._rows = rows
        self._length = length
        self._device = next(model.parameters()).device

    @property
    def eot_token_id(self) -> int:
        end = self._tokens.token_to_id(END_OF_TEXT)
        if end is None:
            raise DataError(f"the tokenizer has no {END_OF_TEXT}; name a run, or what eos export wrote of one")
        return int(end)

    def tok_encode(self, string: str, add_special_tokens: bool | None = None) -> list[int]:
        return list(self._tokens.encode(string, add_special_tokens=False).ids)

    @torch.no_grad()
    def _loglikelihood_tokens(
        self, requests: list[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Σ log p of every continuation, and whether each of its tokens is the likeliest."""
        told: list[tuple[float, bool]] = [(0.0, True)] * len(requests)
        # The longest first, so that what does not fit into memory is known at once, and rows are of like length.
        order = sorted(range(len(requests)), key=lambda index: -len(requests[index][1] + requests[index][2]))
        for start in _tracked(range(0, len(order), self._rows), "Scoring texts"):
            chosen = order[start : start + self._rows]
            rows = [(requests[index][1] + requests[index][2])[-self._length - 1 :] for index in chosen]
            longest = max(len(row) for row in rows) - 1
            # What comes after a text changes nothing in it, whatever it is.
            inputs = torch.tensor([row[:-1] + [0] * (longest - len(row) + 1) for row in rows], device=self._device)
            logits = self._model(inputs).float()
            for index, row, each in zip(chosen, rows, logits, strict=True):
                count = len(requests[index][2])
                if count > len(row) - 1:
                    raise DataError(f"a text to score has {count} tokens; raise --length, now {self._length}")
                told[index] = _told(each[len(row) - 1 - count : len(row) - 1], row[len(row) - count :])
        return told

    def loglikelihood_rolling(self, requests: list[Any], disable_tqdm: bool = False) -> list[float]:
        windows: list[tuple[Any, list[int], list[int]]] = []
        owners: list[int] = []
        for owner, request in enumerate(requests):
            ids = self.tok_encode(request.args[0])
            for pair in get_rolling_token_windows(ids, self.eot_token_id, self._length, 1):
                windows.append((None, *make_disjoint_window(pair)))
                owners.append(owner)
        sums = [0.0] * len(requests)
        for owner, (nats, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            sums[owner] += nats
        return sums

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        return [self._answer(*request.args) for request in _tracked(requests, "Writing answers")]

    def _answer(self, context: str, settings: dict[str, Any]) -> str:
        """What is written before the first of the strings that end an answer."""
        until = settings.get("until") or []
        ends = [until] if isinstance(until, str) else list(until)
        prompt = self.tok_encode(context)[-self._length :] or [self.eot_token_id]
        drawn = stream(
            self._model,
            torch.tensor([prompt], device=self._device),
            tokens=int(settings.get("max_gen_toks", ANSWER)),
            temperature=float(settings.get("temperature", 1.0)) if settings.get("do_sample") else 0.0,
        )
        ids: list[int] = []
        text = ""
        for token in drawn:
            if int(token) == self.eot_token_id and END_OF_TEXT not in ends:
                break
            ids.append(int(token))
            text = self._tokens.decode(ids, skip_special_tokens=False)
            found = [text.index(end) for end in ends if end in text]
            if found:
                return text[: min(found)]
        return text


def _told(logits: Tensor, ids: list[int]) -> tuple[float, bool]:
    targets = torch.tensor(ids, dtype=torch.int64, device=logits.device)
    nats = log_softmax(logits, -1).gather(1, targets[:, None]).double().sum()
    return float(nats), bool((logits.argmax(-1) == targets).all())


def _tracked(items: Any, title: str) -> Any:
    console = Console(stderr=True)
    return track(items, description=title, console=console, transient=True, disable=not console.is_terminal)


def _manager(tasks: Sequence[str], include: Path | None) -> Any:
    """The harness's list of tasks; its own thousands are read only where they are asked for.

    Raises:
        RecipeError: an unknown task.
    """
    if include is not None:
        manager = TaskManager(include_path=str(include), include_defaults=False)
        # A group may name tasks of the harness.
        if all(name in manager.all_subtasks for name in tasks):
            return manager
    manager = _whole(None if include is None else str(include))
    for name in tasks:
        if name not in manager.all_tasks:
            raise RecipeError(_unknown(name, manager.all_tasks))
    return manager


@cache
def _whole(include: str | None) -> Any:
    return TaskManager(include_path=include)


def _loaded(source: Path) -> tuple[LanguageModel, tokenizers.Tokenizer]:
    """The model, and the tokenizer it reads text with."""
    if not source.is_dir():
        raise RunError(f"there is no folder {source}; name a run on text, or what eos export wrote")
    if (source / "config.json").is_file():
        if not (source / "tokenizer.json").is_file():
            raise DataError(f"{source} holds a model without tokenizer.json, so it reads no text")
        return EOSForCausalLM.from_pretrained(source).model, AutoTokenizer.from_pretrained(source).backend_tokenizer
    trained = load_for_decoding(source, device="cpu")
    made = trained.task.tokenizer()
    if made is None:
        raise DataError(f"the model in {source} reads no text, and the harness asks in text")
    return trained.model, made


def _scores(results: dict[str, dict[str, Any]]) -> Iterator[Score]:
    """Of every task and group, from what the harness calls "metric,filter" and "metric_stderr,filter"."""
    for task, values in results.items():
        for key, value in values.items():
            metric, comma, chosen = key.partition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = values.get(f"{metric}_stderr,{chosen}")
            told = metric if chosen == "none" else f"{metric} ({chosen})"
            yield Score(
                task=task, metric=told, value=float(value), error=float(error) if isinstance(error, float) else None
            )


def _unknown(name: str, known: Sequence[str]) -> str:
    """The nearest names alone: the harness has thousands."""
    sentence = unknown("task", name, known).partition(" Known: ")[0]
    return f"{sentence} There are {len(known):,}: see the harness's list, or name a folder of your own with --include"


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the harness says of how it was called."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
