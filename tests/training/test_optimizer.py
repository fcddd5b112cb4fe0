from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from eos.training.optimizer import decay_groups
from eos.training.state import seed_everything
from tests.training.fakes import TinyModel, counting_task, fit_in, training_options

# Sums of the same float32 numbers in another order.
FLOAT32 = 1e-6


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 4)
        self.norm = nn.RMSNorm(4)
        self.projection = nn.Linear(4, 4)
        self.decay = nn.Parameter(torch.zeros(2, 4))
        self.decay._no_weight_decay = True  # type: ignore[attr-defined]
        self.frozen = nn.Parameter(torch.zeros(2, 4), requires_grad=False)
        self.head = nn.Linear(4, 5)
        self.head.weight = self.embedding.weight


def names(model: nn.Module, parameters: list[nn.Parameter]) -> set[str]:
    return {name for name, value in model.named_parameters() if any(value is parameter for parameter in parameters)}


def test_only_matrices_decay() -> None:
    model = Model()
    decayed, kept = decay_groups(model, embeddings=False)
    assert names(model, decayed) == {"projection.weight"}
    assert names(model, kept) == {"embedding.weight", "norm.weight", "projection.bias", "decay", "head.bias"}
    assert len(decayed) + len(kept) == 6


def test_embeddings_decay_when_asked() -> None:
    model = Model()
    decayed, _ = decay_groups(model, embeddings=True)
    assert names(model, decayed) == {"projection.weight", "embedding.weight"}


def test_decay_shrinks_matrices_by_learning_rate_times_weight_decay(tmp_path: Path) -> None:
    class Still(TinyModel):
        """Its loss has no gradient: decay alone acts."""

        def forward(self, tokens: Tensor, *, reset: Tensor | None = None) -> Tensor:
            return super().forward(tokens, reset=reset) * 0

    model = Still()
    options = training_options(steps=3, schedule="constant", warmup=0.0, learning_rate=0.1, weight_decay=0.5)
    seed_everything(options.seed)
    start = [nn.init.normal_(torch.empty_like(parameter), std=0.5) for parameter in model.parameters()]
    fit_in(tmp_path / "run", model, options)
    for (name, value), before in zip(model.named_parameters(), start, strict=True):
        expected = before * 0.95**3 if name == "head.weight" else before
        torch.testing.assert_close(value.detach(), expected, rtol=FLOAT32, atol=0.0)


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulation_equals_one_big_batch(tmp_path: Path, parts: int) -> None:
    batch = counting_task().train_batch(1, 0, 4)
    targets = (batch.targets != -100).sum(1)
    assert targets.unique().numel() > 1, "rows with unequal numbers of targets are the point"
    whole, split = TinyModel(dropout=0.0), TinyModel(dropout=0.0)
    fit_in(tmp_path / "whole", whole, training_options())
    fit_in(tmp_path / "split", split, training_options(accumulate=parts))
    for name, value in split.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[name], rtol=1e-4, atol=1e-5)


def test_gradient_is_clipped_to_its_norm(tmp_path: Path) -> None:
    model = TinyModel()
    module = fit_in(tmp_path / "run", model, training_options(clip=0.01, steps=3))
    left = torch.stack([parameter.grad.norm() for parameter in model.parameters() if parameter.grad is not None])
    assert left.norm().item() == pytest.approx(0.01, rel=1e-3)
    assert module.gradient_norm() > 0.01
