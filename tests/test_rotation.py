"""Rotations against multiplication by exp(iφ), with every gradient."""

import pytest
import torch

from eos.rotation import rotate

SHAPES = [((2, 3, 6), (2, 3, 3), -1), ((1, 3, 6), (2, 1, 3), -1), ((2, 3, 6), (3, 3), -1), ((2, 6, 5), (2, 3, 1), -2)]


def turned(x: torch.Tensor, angle: torch.Tensor, dim: int) -> torch.Tensor:
    """As complex numbers."""
    pairs = torch.complex(*x.chunk(2, dim)) * torch.exp(1j * angle)
    return torch.cat([pairs.real, pairs.imag], dim)


def drawn(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(len(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.mark.parametrize(("x", "angle", "dim"), SHAPES)
def test_pairs_turn_as_complex_numbers(x: tuple[int, ...], angle: tuple[int, ...], dim: int) -> None:
    inputs = (drawn(*x), drawn(*angle))
    torch.testing.assert_close(rotate(*inputs, dim), turned(*inputs, dim), rtol=0, atol=1e-14)
    assert torch.autograd.gradcheck(lambda a, b: rotate(a, b, dim), inputs)
    assert torch.autograd.gradgradcheck(lambda a, b: rotate(a, b, dim), inputs)


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_over_a_batch_of_vmap() -> None:
    x, angle = drawn(4, 2, 6), drawn(4, 2, 3)
    torch.testing.assert_close(torch.func.vmap(rotate)(x, angle), rotate(x, angle), rtol=0, atol=0)


def test_a_narrow_x_takes_the_angle_s_dtype_and_its_gradient_its_own() -> None:
    x, angle = drawn(2, 6).detach().bfloat16().requires_grad_(), drawn(2, 3).detach().float()
    y = rotate(x, angle)
    assert y.dtype == torch.float32
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert dx.dtype == torch.bfloat16
