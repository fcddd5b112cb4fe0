"""A number that is not finite is named, and costs no good checkpoint."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from eos.errors import RunError
from eos.training.folder import RunFolder
from eos.training.guard import first_not_finite
from tests.training.fakes import StoppingModel, TinyModel, fit_in, training_options


class Burst(nn.Module):
    """Multiplies by a number in the forward pass, or in the backward pass alone."""

    def __init__(self, *, forward: float = 1.0, backward: float = 1.0) -> None:
        super().__init__()
        self.forward_factor = forward
        self.backward_factor = backward

    def forward(self, x: Tensor) -> Tensor:
        if x.requires_grad and self.backward_factor != 1.0:
            x = x * 1.0
            x.register_hook(lambda gradient: gradient * self.backward_factor)
        return x * self.forward_factor


def chain(middle: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 3), nn.Sequential(nn.Tanh(), middle), nn.Linear(3, 3))


def place(model: nn.Module) -> str | None:
    return first_not_finite(model, lambda: model(torch.ones(2, 3)).sum())


def test_first_layer_with_bad_activations_is_named() -> None:
    assert place(chain(Burst(forward=float("nan")))) == "the activations of 1.1 are"
    assert place(chain(Burst(forward=float("inf")))) == "the activations of 1.1 are"


def test_last_layer_with_a_bad_gradient_is_named() -> None:
    # The gradient leaves the finite numbers inside of 1.1; the first activations to receive it are those of 1.0.
    assert place(chain(Burst(backward=float("inf")))) == "the gradient of the activations of 1.0 is"


def test_bad_weight_is_named() -> None:
    model = chain(nn.Identity())
    model[2].bias.data[1] = float("nan")
    assert place(model) == "the weight 2.bias is"


def test_bad_loss_is_named() -> None:
    model = chain(nn.Identity())
    assert first_not_finite(model, lambda: model(torch.ones(2, 3)).sum() * float("inf")) == "the loss is"


def test_finite_model_names_nothing() -> None:
    model = chain(nn.Identity())
    assert place(model) is None
    assert not any(module._forward_hooks for module in model.modules())


class BurstingModel(TinyModel):
    """Not finite from one training step on."""

    def __init__(self, *, at: int) -> None:
        super().__init__()
        self.burst = Burst()
        self._left = at

    def forward(self, tokens: Tensor, *, reset: Tensor | None = None) -> Tensor:
        if self.training:
            self._left -= 1
            if self._left <= 0:
                self.burst.forward_factor = float("inf")
        return self.burst(super().forward(tokens, reset=reset))


# The step is lost long before it is noticed: by the row of step 3, 9 or 12, the checkpoint of 5, the validation of 8.
@pytest.mark.parametrize(("at", "saved"), [(2, None), (4, None), (7, 5), (8, 5), (11, 10)])
def test_run_ends_with_the_weights_before_the_bad_step(tmp_path: Path, at: int, saved: int | None) -> None:
    model = BurstingModel(at=at)
    with pytest.raises(RunError, match=rf"^step {at}: the activations of burst are not finite") as raised:
        fit_in(tmp_path / "run", model, training_options())
    checkpoints = RunFolder(tmp_path / "run").checkpoints
    expected = "nothing was saved" if saved is None else f"the last good checkpoint is {checkpoints.at(saved)}"
    assert expected in str(raised.value)
    good = StoppingModel(at=at - 1, how="signal")
    fit_in(tmp_path / "good", good, training_options())
    for name, value in model.state_dict().items():
        assert torch.equal(value, good.state_dict()[name]), name
