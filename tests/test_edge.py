"""An edge is, to torch, the tensor it stands for."""

import copy

import pytest
import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional

from eos import edge
from eos.edge import Edge
from eos.errors import RecordError

Z = torch.linspace(-30, 30, 2 * 3 * 4 * 5, dtype=torch.float64).view(2, 3, 4, 5)
BIAS = torch.linspace(-1, 1, 20, dtype=torch.float64).view(4, 5)
#: Every form with what torch makes of it.
FORMS = {
    "log_sigmoid": (lambda z, b: edge.log_sigmoid(z, b), lambda z, b: functional.logsigmoid(z + b)),
    "log_sigmoid / 16": (lambda z, b: edge.log_sigmoid(z, b, tau=16), lambda z, b: functional.logsigmoid(z + b) / 16),
    "log_sigmoid, no bias": (lambda z, b: edge.log_sigmoid(z), lambda z, b: functional.logsigmoid(z)),
    "softplus": (lambda z, b: edge.softplus(z, b), lambda z, b: functional.softplus(z + b)),
    "silu": (lambda z, b: edge.silu(z), lambda z, b: functional.silu(z)),
    "complement": (
        lambda z, b: edge.complement(edge.log_sigmoid(z, b), axis=4),
        lambda z, b: torch.sigmoid(-z - b)[..., None],
    ),
    "complement over V": (
        lambda z, b: edge.complement(-z.abs(), axis=3),
        lambda z, b: -torch.expm1(-z.abs())[..., None, :],
    ),
}


def unmade(x: Tensor) -> bool:
    return isinstance(x, Edge) and x.waiting


@pytest.mark.parametrize("form", FORMS)
def test_it_is_what_torch_makes_with_its_gradients(form: str) -> None:
    make, want = FORMS[form]
    leaves = [x.clone().requires_grad_() for x in (Z, BIAS)]
    got, exact = make(*leaves), want(*leaves)
    assert unmade(got)
    assert (got.shape, got.dtype, got.requires_grad) == (exact.shape, exact.dtype, True)
    assert unmade(got)
    torch.testing.assert_close(got + 0, exact, rtol=1e-12, atol=0)
    assert not unmade(got)
    random = torch.randn(exact.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for left, right in zip(
        torch.autograd.grad(got * 1, leaves, random, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(exact, leaves, random, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(left, right, rtol=1e-9, atol=1e-12)


def test_functions_and_libraries_of_torch_take_it() -> None:
    got, want = edge.silu(Z), functional.silu(Z)
    for used in (
        lambda x: torch.cat([x, x], -1),
        lambda x: rearrange(x, "b t h k -> b h (t k)"),
        lambda x: torch.einsum("bthk,bthk->bth", x, x),
        lambda x: x[0, 1],
        lambda x: copy.deepcopy(x) * 1,
        lambda x: torch.stack((x, x)),
        lambda x: 2 - x,
    ):
        torch.testing.assert_close(used(got), used(want))


def test_log_decays_and_steps_are_never_narrower_than_float32() -> None:
    for bias in (None, BIAS.float(), BIAS.bfloat16()):
        for make in (edge.log_sigmoid, edge.softplus):
            narrow = make(Z.bfloat16(), bias)
            assert narrow.dtype == (narrow * 1).dtype == torch.float32
    assert edge.silu(Z.bfloat16()).dtype == torch.bfloat16


def test_a_look_without_gradients_does_not_lose_them() -> None:
    z = Z.clone().requires_grad_()
    looked = edge.silu(z)
    with torch.no_grad():
        assert not (looked * 1).requires_grad
    (looked * 1).sum().backward()
    assert z.grad is not None
    assert z.grad.abs().sum() > 0


class _Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return 2 * gradient


def test_what_would_lose_a_gradient_says_so() -> None:
    """An autograd function is no function of torch, and would take the edge for a leaf."""
    doubled = _Doubled.apply(edge.silu(Z.clone().requires_grad_()))
    with pytest.raises(RecordError, match=r"hand it edge.made\(\)"):
        doubled.sum().backward()
    z = Z.clone().requires_grad_()
    whole = edge.silu(z)
    assert isinstance(whole, Edge)
    _Doubled.apply(whole.made()).sum().backward()
    assert z.grad is not None


def test_what_comes_out_of_an_autograd_function_says_so() -> None:
    class Made(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, z: Tensor) -> Tensor:
            return edge.silu(z)

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            return 100 * gradient

    passed = Made.apply(Z.clone().requires_grad_())
    with pytest.raises(RecordError, match=r"let its forward return edge.made\(\)"):
        passed * 1


def test_made_without_gradients_it_has_none() -> None:
    z = Z.clone().requires_grad_()
    with torch.no_grad():
        untaught = edge.silu(z)
    assert not untaught.requires_grad
    assert not (untaught * 1).requires_grad


def test_a_look_in_inference_mode_spoils_nothing() -> None:
    looked, weight = edge.silu(Z), Z.clone().requires_grad_()
    with torch.inference_mode():
        looked * 1
    (looked * weight).sum().backward()
    torch.testing.assert_close(weight.grad, functional.silu(Z))


def test_what_it_is_made_of_may_not_change() -> None:
    z = Z.clone()
    late = edge.silu(z)
    z += 1
    with pytest.raises(RecordError, match="was written to before it was made"):
        late * 1


def test_writing_to_it_writes_to_what_is_made() -> None:
    written = edge.silu(Z.clone())
    written[0] = 7.0
    assert (written[0] == 7.0).all()
    assert not unmade(written)


@pytest.mark.parametrize(("axes", "bias"), [((2, 3, 1, 5), (4, 5)), ((2, 3, 4, 5), (5,)), ((2, 3, 4, 5), ())])
def test_a_bias_with_other_axes_is_added_at_once(axes: tuple[int, ...], bias: tuple[int, ...]) -> None:
    made = edge.log_sigmoid(torch.zeros(axes, dtype=torch.bfloat16), torch.ones(bias))
    assert not isinstance(made, Edge)
    assert (made.shape, made.dtype) == (torch.Size((2, 3, 4, 5)), torch.float32)
