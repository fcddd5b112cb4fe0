"""Rotation of pairs of entries: what turns a memory, keys and queries."""

from typing import Any

import torch
from torch import Tensor

from eos.edge import made


def rotate(x: Tensor, angle: Tensor, dim: int = -1) -> Tensor:
    """Turn the pairs (x_p, x_{p+K/2}) by ``angle`` radians: multiplication of x_p + i·x_{p+K/2} by exp(+i·angle).

    Arguments:
        x: K entries along ``dim``.
        angle: K/2 entries along ``dim``; both broadcast over the rest.
        dim: counted from the end, −1 or −2.
    """
    y: Tensor = _Rotation.apply(made(x), made(angle), dim)  # type: ignore[no-untyped-call]
    return y


class _Rotation(torch.autograd.Function):
    """Two passes over memory where differentiated products and a concatenation take four, and ten backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, angle: Tensor, dim: int) -> Tensor:
        cos, sin = angle.cos(), angle.sin()
        x = x.to(torch.promote_types(x.dtype, cos.dtype))
        y: Tensor = (x.unflatten(dim, (2, -1)) * cos.unsqueeze(dim - 1)).flatten(dim - 1, dim)
        (first, second), (left, right) = x.chunk(2, dim), y.chunk(2, dim)
        left.addcmul_(second, sin, value=-1)
        right.addcmul_(first, sin)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, int], output: Tensor) -> None:
        x, angle, ctx.dim = inputs
        ctx.like = x.shape, x.dtype
        ctx.save_for_backward(angle, output if angle.requires_grad else None)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        angle, y = ctx.saved_tensors
        dx = dangle = None
        if ctx.needs_input_grad[0]:
            shape, dtype = ctx.like
            dx = rotate(dy, -angle, ctx.dim).sum_to_size(shape).to(dtype)
        if y is not None and ctx.needs_input_grad[1]:
            (left, right), (dleft, dright) = y.chunk(2, ctx.dim), dy.chunk(2, ctx.dim)
            dangle = (dright * left).addcmul_(dleft, right, value=-1).sum_to_size(angle.shape).to(angle.dtype)
        return dx, dangle, None
