"""Decoding token by token: on a GPU a step is captured once as a CUDA graph and replayed, where the model allows it."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from eos.models.language_model import LanguageModel

#: Captures a function without arguments: returns what runs it again, on the same tensors, and what it returned.
Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], None], Tensor]]


class Decoder:
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
        self.replay: Callable[[], None] | None = None

    @property
    def captured(self) -> bool:
        """Whether steps are replayed by now."""
        return self.replay is not None

    @torch.no_grad()
    def __call__(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B vocabulary"]:
        """Read tokens; the logits are of the token after the last, and hold until the next call."""
        if tokens.shape[1] > 1 or self.capture is None or not self.cache.constant:
            return self._logits(tokens)
        self.steps += 1
        if self.steps == 1:  # kernels are compiled, and work space is reserved, by a step that is not captured
            return self._logits(tokens)
        if self.replay is None:
            self.token, self.held = tokens.clone(), list(self.cache.tensors())
            self.replay, self.logits = self.capture(self._step)
        self.token.copy_(tokens)
        self.replay()
        return self.logits

    def _logits(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.model(tokens, cache=self.cache)
        return logits[:, -1].float()

    def _step(self) -> Tensor:
        """One token, from and to the same tensors."""
        logits = self._logits(self.token)
        for before, after in zip(self.held, self.cache.tensors(), strict=True):
            before.copy_(after)
        return logits


def cuda_graph(run: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """Capture as a CUDA graph, which runs nothing yet."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = run()
    return graph.replay, out
