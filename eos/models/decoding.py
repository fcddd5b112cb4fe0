"""Decoding token by token: on a GPU a step is captured once as a CUDA graph and replayed, where the model allows it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eos.models.language_model import LanguageModel

#: Captures a function without arguments: returns what runs it again, on the same tensors, and what it returned.
Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]


@dataclass(frozen=True, kw_only=True)
class _Captured:
    """A step as it is replayed: what runs it, the token that goes in, the logits that come out, and the cache's
    tensors, which it reads and writes.
    """

    replay: Callable[[], None]
    token: Tensor
    logits: Tensor
    held: list[Tensor]


class Decoding:
    """The logits after tokens that go on from those before; holds the cache.

    A step of a model whose cache is constant runs the same kernels on the same tensors for every token, so that one
    launch replays them all: launching them one by one takes longer than running them.

    Arguments:
        model: in evaluation mode.
        batch: rows.
        capture: how a step is captured; None for never.
    """

    def __init__(self, model: LanguageModel, batch: int, *, capture: Capture | None) -> None:
        self.model, self.capture = model, capture
        self.cache = model.cache(batch)
        self.steps = 0
        self.captured: _Captured | None = None

    @torch.no_grad()
    def __call__(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B vocabulary"]:
        """Read tokens; the logits are of the token after the last, and hold until the next call."""
        if tokens.shape[1] > 1 or self.capture is None or not self.cache.constant:
            self._release()
            return self._logits(tokens)
        self.steps += 1
        if self.steps == 1:  # kernels are compiled by a step that is not captured
            return self._logits(tokens)
        if self.captured is None:
            self.captured = self._captured(tokens, self.capture)
        self.captured.token.copy_(tokens)
        self.captured.replay()
        return self.captured.logits

    def reorder(self, rows: Int[Tensor, " B"]) -> None:
        """Row b goes on from what row rows[b] has seen; as many rows as there are."""
        self._release()
        self.cache.reorder(rows)

    def _logits(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens, cache=self.cache)
        return logits[:, -1].float()

    def _captured(self, tokens: Tensor, capture: Capture) -> _Captured:
        token, held = tokens.clone(), list(self.cache.tensors())

        def step() -> Tensor:
            logits = self._logits(token)
            for before, after in zip(held, self.cache.tensors(), strict=True):
                before.copy_(after)
            return logits

        replay, logits = capture(step)
        return _Captured(replay=replay, token=token, logits=logits, held=held)

    def _release(self) -> None:
        """Give the cache what the replayed steps have made of it, for a step of another kind."""
        if self.captured is not None:
            for mine, last in zip(self.cache.tensors(), self.captured.held, strict=True):
                mine.copy_(last)
            self.captured = None


def cuda_graph(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Capture as a CUDA graph of the current device, which runs nothing yet; other threads may go on allocating."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        out = run()
    return graph.replay, out
