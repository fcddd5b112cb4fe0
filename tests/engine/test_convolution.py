"""Convolutions and time-invariant recurrences against dense sums over lags."""

import pytest
import torch
from torch import Tensor

import eos
from eos.record import Convolution, Recurrence, Transition
from tests.compare import assert_close, relative_error, scanned
from tests.records import CASES, build
from tests.tolerances import BFLOAT16, EXACT, FLOAT32


def random(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def dense(i: Tensor, response: Tensor, *, causal: bool) -> Tensor:
    """y_t = Σ_j response_{t−j} ∘ i_j, lag by lag."""
    length = i.shape[1]
    rows = []
    for t in range(length):
        y = torch.zeros_like(i[:, 0])
        for j in range(length):
            lag = t - j if causal else t - j + length - 1
            if lag >= 0:
                y = y + i[:, j] * response[:, :, lag]
        rows.append(y)
    return torch.stack(rows, 1)


def with_gradients(y: Tensor, *leaves: Tensor) -> dict[str, Tensor]:
    direction = random(*y.shape, seed=9).detach()
    grads = torch.autograd.grad(y, leaves, direction.to(y.dtype))
    return {"y": y.detach(), **{f"gradient {j}": grad for j, grad in enumerate(grads)}}


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("length", [1, 15, 16, 17, 65])
@pytest.mark.parametrize("shared", [(3, 7), (1, 7), (3, 1)], ids=["dense", "over heads", "over V"])
def test_convolution_equals_the_sum_over_lags(length: int, causal: bool, shared: tuple[int, int]) -> None:
    lags = length if causal else 2 * length - 1
    i, response = random(2, length, 3, 7), random(*shared, lags, seed=1)
    y, memory = eos.scan(Convolution(input=i, response=response, causal=causal))
    assert memory is None
    want = dense(i, response, causal=causal)
    assert_close(with_gradients(y, i, response), with_gradients(want, i, response), EXACT)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, FLOAT32), (torch.bfloat16, BFLOAT16)])
def test_convolution_of_narrow_numbers(dtype: torch.dtype, tolerance: float) -> None:
    i, response = random(2, 200, 3, 7).to(dtype), random(3, 7, 200, seed=1).to(dtype)
    y, _ = eos.scan(Convolution(input=i, response=response))
    assert y.dtype == dtype
    want, _ = eos.scan(Convolution(input=i.double(), response=response.double()))
    assert relative_error(y, want) <= tolerance


def test_a_later_input_never_moves_an_earlier_output() -> None:
    i, response = random(1, 33, 1, 1).detach(), random(1, 1, 33, seed=1)
    later = i.clone()
    later[:, 20:] += 1.0
    (y, _), (other, _) = (eos.scan(Convolution(input=x, response=response)) for x in (i, later))
    assert relative_error(other[:, :20], y[:, :20]) <= EXACT
    assert not torch.allclose(other[:, 20:], y[:, 20:])


def test_a_recurrence_is_its_impulse_response() -> None:
    """y of an impulse is the response; a convolution with it gives y of anything."""
    length = 40
    case = build(CASES["invariant key value"], length=length)
    one = torch.zeros(1, length, 3, 7, dtype=torch.float64)
    one[:, 0] = 1.0
    impulse = Recurrence(input=one, expand=case.expand, shrink=case.reads, transition=case.transition)
    responses, _, _ = scanned("sequential")(impulse)
    assert case.input is not None
    for response, y in zip(responses, scanned("chunked")(case)[0], strict=True):
        want, _ = eos.scan(Convolution(input=case.input, response=response[0].permute(1, 2, 0)))
        assert relative_error(want, y) <= EXACT


@pytest.mark.parametrize("length", [63, 64, 65, 200])
def test_the_response_is_made_in_windows_of_lags(length: int) -> None:
    """Around a window's end, with a phase that has turned many times."""
    i, e, s = random(2, length, 3, 7), random(1, 1, 3, 6, seed=1), random(1, 1, 3, 6, seed=2)
    phase = (40 * random(1, 1, 3, 3, seed=3)).detach().requires_grad_()
    key = (-0.02 * random(1, 1, 3, 3, seed=4).square()).detach().requires_grad_()
    record = Recurrence(input=i, expand=e, shrink=s, transition=Transition(phase=phase, key=key))
    got, want = (
        with_gradients(scanned(algorithm)(record)[0][0], i, e, s, phase, key) for algorithm in ("fft", "sequential")
    )
    assert_close(got, want, EXACT)
