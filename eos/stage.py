"""What a stage is: the abstract classes of stages and the context they are built in.

A stage is one file in a ``stages/`` package, found by its file name; its module docstring holds what it does, its
equation and its source, in the form that ``eos list`` reads::

    '''What it does, in one line.

    Equation: e_t = φ(W x_t)
    Source: arXiv:2405.17383, section 3
    '''

The module defines exactly one public stage class. Stages couple one way: Expand(x) → Oscillation(x, e) →
Shrink(x, e, transition), then an optional joint ``Couple(i, e, s)``. No stage sees another stage's module.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eos.config import Activation, option, options
from eos.edge import complement, log_sigmoid, silu, softplus
from eos.errors import CompositionError
from eos.record import Transition, act

__all__ = [
    "AbstractCouple",
    "AbstractExpand",
    "AbstractOscillation",
    "AbstractProjectedStage",
    "AbstractResponse",
    "AbstractShrink",
    "AbstractStage",
    "Activation",
    "CompositionError",
    "GateProjection",
    "LayerContext",
    "activate",
    "bilinear_hold",
    "bounded_below",
    "complement",
    "complex_expm1",
    "full_precision",
    "legs",
    "linear",
    "log_sigmoid",
    "option",
    "options",
    "softplus",
    "split_modes",
    "spread",
    "state_activation",
    "taylor_features",
    "taylor_size",
    "undecayed",
    "widen",
    "zero_order_hold",
]

ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    "none": lambda x: x,
    "relu": F.relu,
    "sigmoid": torch.sigmoid,
    "elu_plus_one": lambda x: F.elu(x) + 1,
    "silu": F.silu,
    "elu": F.elu,
    "relu_squared": lambda x: F.relu(x).square(),
    "square": torch.square,
    "exp": torch.exp,
    "gelu": F.gelu,
}


def activate(name: Activation, x: Tensor) -> Tensor:
    """The activation of this name, elementwise."""
    return ACTIVATIONS[name](x)


def state_activation(name: Activation, x: Tensor) -> Tensor:
    """As :func:`activate`, for what is e or s then: unmade where kernels make it as they load x."""
    return silu(x) if name == "silu" else activate(name, x)


def widen(x: Tensor) -> Tensor:
    """x in float32 or wider: log-decays add up over thousands of steps, which bfloat16 has no digits for."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    """What an ``nn.Linear`` makes of x, with its weights in float32 or wider."""
    assert isinstance(layer, nn.Linear)
    bias: Tensor | None = layer.bias
    return F.linear(x, widen(layer.weight), None if bias is None else widen(bias))


def full_precision(like: Tensor) -> AbstractContextManager[object]:
    """Inside it autocast is off, for what bfloat16 cannot tell apart."""
    device = like.device.type
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def unit(x: Tensor, *, dim: int = -1, eps: float = 0.0) -> Tensor:
    """x / √(|x|² + ε) along an axis; with ε = 0 zero where x is."""
    return F.normalize(x, dim=dim) if eps == 0 else x * (x.square().sum(dim, keepdim=True) + eps).rsqrt()


def spread(low: float, high: float, *shape: int) -> Tensor:
    """Values from low to high, evenly along the last axis of ``shape`` and the same along the others.

    Decays that start spread out see near and far from the first step on, which matters as much as their form.
    """
    size = shape[-1]
    values = torch.linspace(low, high, size) if size > 1 else torch.tensor([(low + high) / 2])
    return values.expand(shape).clone()


def undecayed(start: Tensor) -> nn.Parameter:
    """A parameter that weight decay leaves alone: a bias, rate or angle, for which zero is no natural place."""
    parameter = nn.Parameter(start)
    parameter._no_weight_decay = True  # type: ignore[attr-defined]
    return parameter


def bounded_below(log_decay: Tensor, bounds: Tensor, layer: int) -> Tensor:
    """log(γ_l + (1 − γ_l) o) with γ_l = Σ_{j<l} softmax(Γ)_j: layer 0 has no bound, and no layer's reaches 1.

    Arguments:
        log_decay: log o in nats [...].
        bounds: Γ [L, ...], shared by all layers.
        layer: l, 0 ≤ l < L.

    Source: arXiv:2311.04823, section 3.2.
    """
    if layer == 0:
        return log_decay
    bound = bounds.softmax(dim=0)[:layer].sum(dim=0)
    # The logarithm of a share that underflowed to zero would have a gradient that is not a number.
    bound = bound.clamp(min=torch.finfo(bound.dtype).tiny)
    return torch.logaddexp(bound.log(), torch.log1p(-bound) + log_decay)


def zero_order_hold(transition: Transition) -> Tensor | float:
    """(exp(ΔA) − 1) / A [H,N,V], complex where A is, of the one time-invariant rate × step; 1 where there is none.

    Source: arXiv:2206.11893, section 3.
    """
    if len(transition.terms) != 1 or transition.link != "identity":
        return 1.0
    rate, turn, step = transition.terms[0]
    if rate is None or step.shape[:2] != (1, 1):
        return 1.0
    x = step[0, 0] * rate
    if turn is None:
        return x.expm1() / rate
    return complex_expm1(x, step[0, 0] * turn) / torch.complex(rate.expand_as(turn), turn)


def complex_expm1(x: Tensor, y: Tensor) -> Tensor:
    """exp(x + iy) − 1, without the difference of two numbers near one."""
    return torch.complex(x.expm1() * y.cos() - 2 * (y / 2).sin().square(), x.exp() * y.sin())


def bilinear_hold(transition: Transition, s: Tensor) -> Tensor:
    """(s + Ψᵀ s) / 2 = (I − ΔA/2)⁻ᵀ s, with Ψ = (I − ΔA/2)⁻¹ (I + ΔA/2) what the transition does; s [B,T,H,K].

    As (I − ΔA/2)⁻¹ commutes with Ψ, a read may carry it instead of what is written.

    Source: arXiv:2111.00396, section 2.3.
    """
    assert transition.erase is not None
    a, b = transition.erase
    return (s + act(transition, s, inverse=True) + b * (a * s).sum(-1, keepdim=True)) / 2


def legs(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """ω, P and B [count] in float64, P and B complex: HiPPO-LegS as A = diag(−1/2 + iω) − P P*.

    Of twice as many entries, in conjugate pairs, those with ω > 0.

    Source: arXiv:2111.00396, section 3.3 and appendix C.1.
    """
    n = torch.arange(2 * count, dtype=torch.float64)
    root = (2 * n + 1).sqrt()
    product = root[:, None] * root / 2
    skew = product.triu(1) - product.tril(-1)
    turn, basis = torch.linalg.eigh(1j * skew)
    basis = basis[:, count:].conj().mT
    return turn[count:], basis @ (root / 2**0.5).to(basis.dtype), basis @ root.to(basis.dtype)


def split_modes(entries: int, key_size: int) -> str | None:
    """Why K does not hold complex modes of this many entries, or None."""
    fits = key_size % (2 * entries) == 0
    return None if fits else f"complex modes of d = {entries} entries need K = 2 N d, got K = {key_size}"


def taylor_size(key_size: int) -> int:
    """The largest d with 1 + d + d² ≤ K."""
    return int((key_size - 0.75) ** 0.5 - 0.5)


def taylor_features(x: Tensor, key_size: int) -> Tensor:
    """[1, z, z ⊗ z / √2, 0 …] [...,K] of x [...,d], z = d^(−1/4) x, whose products are 1 + a + a²/2, a = xᵀx' / √d.

    Source: arXiv:2402.18668, section 4.1.
    """
    z = x * x.shape[-1] ** -0.25
    square: Tensor = _Square.apply(z)  # type: ignore[no-untyped-call]
    terms = [torch.ones_like(z[..., :1]), z, square]
    rest = key_size - sum(term.shape[-1] for term in terms)
    return torch.cat(terms if rest == 0 else [*terms, z.new_zeros(*z.shape[:-1], rest)], -1)


class _Square(torch.autograd.Function):
    """z ⊗ z / √2 [...,d²], whose gradient is one product with z, not two of d² entries that are summed then."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z: Tensor) -> Tensor:
        square: Tensor = (z[..., :, None] * (2**-0.5 * z)[..., None, :]).flatten(-2)
        return square

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (z,), (gradient,) = ctx.saved_tensors, gradients
        square = gradient.unflatten(-1, (z.shape[-1], z.shape[-1]))
        dz: Tensor = 2**-0.5 * ((square + square.mT) @ z[..., None])[..., 0]
        return dz


class GateProjection(nn.Module):
    """The logits z = W x + b of a gate, in float32 or wider.

    Arguments:
        width: size of x.
        start: what b starts from, in the logits' shape after [B,T]: (H,), (H, K) or (H, V).
        rank: size of the bottleneck of W; None means full rank.
        inner: applied inside the bottleneck.
    """

    def __init__(self, width: int, start: Tensor, *, rank: int | None = None, inner: nn.Module | None = None) -> None:
        super().__init__()
        size = start.numel()
        self.projection: nn.Module = (
            nn.Linear(width, size, bias=False)
            if rank is None
            else nn.Sequential(
                nn.Linear(width, rank, bias=False),
                *([] if inner is None else [inner]),
                nn.Linear(rank, size, bias=False),
            )
        )
        self.bias = undecayed(start)

    def forward(self, x: Tensor) -> Tensor:
        return widen(self.unbiased(x)) + self.bias

    def unbiased(self, x: Tensor) -> Tensor:
        """W x [B,T,…], as wide as the projection makes it."""
        z: Tensor = self.projection(x)
        return z.view(*z.shape[:-1], *self.bias.shape)

    def log_sigmoid(self, x: Tensor, *, tau: float = 1.0) -> Tensor:
        """The log-decay log_sigmoid(W x + b) / τ."""
        return log_sigmoid(self.unbiased(x), self.bias, tau=tau)


@dataclass(frozen=True, kw_only=True)
class LayerContext:
    """Where a stage stands.

    Arguments:
        layer: index of the layer, 0 ≤ layer < layers.
        layers: number of layers L.
        width: width of the x that the stages read: the model's D, or H · V where ``stages_read`` is "input".
        heads: number of heads H.
        groups: heads of e and s, H % groups == 0.
        key_size: K, the expand size of a head.
        value_size: V, the value size of a head.
        substeps: micro-steps n of a step: e has n·T of them, and so has what erases or gates it.
        passes: 2 where what the shrink stage sees as x is what a first pass returns, H · K numbers; else 1.
        shared: parameters shared by all layers, by name; use :meth:`share`.
    """

    layer: int
    layers: int
    width: int
    heads: int
    groups: int
    key_size: int
    value_size: int
    substeps: int = 1
    passes: int = 1
    shared: dict[str, nn.Parameter] = field(default_factory=dict)

    def share(self, name: str, make: Callable[[], nn.Parameter]) -> nn.Parameter:
        """The parameter of this name shared by all layers, made by the first layer that asks."""
        if name not in self.shared:
            self.shared[name] = make()
        return self.shared[name]


class AbstractStage(nn.Module, ABC):
    """A stage: built from its own options and its place, it emits tensors for the engine."""

    @options
    class Options:
        """A stage without options."""

    def __init__(self, options: Any, context: LayerContext) -> None:
        super().__init__()
        self.options = options
        self.context = context

    @classmethod
    def refuse(cls, options: Any, context: LayerContext) -> str | None:
        """Why this stage cannot stand here (K odd for a rotation, say), or None. Asked before anything is built."""
        return None


class AbstractProjectedStage(AbstractStage):
    """A stage that first projects x; the layer's short convolution acts between ``project`` and ``forward``.

    A stage that only overrides ``forward`` has x itself convolved where a recipe asks for it; one without
    data dependence sets ``features = 0`` and is never convolved.
    """

    @property
    def features(self) -> int:
        """Size of the last axis of ``project(x)``; 0 when the stage does not read x."""
        return self.context.width

    def project(self, x: Tensor) -> Tensor:
        """x [B,T,D] → [B,T,features]."""
        return x


class AbstractExpand(AbstractProjectedStage):
    """Makes the expand state e [1|B,1|T,G,K] (or [1|B,1|T,G,K,V] per channel) from z = project(x)."""

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor: ...


class AbstractOscillation(AbstractStage):
    """Makes the :class:`~eos.record.Transition` from x [B,T,D] and e [1|B,1|T,G,K]."""

    @abstractmethod
    def forward(self, x: Tensor, e: Tensor) -> Transition: ...


class AbstractShrink(AbstractProjectedStage):
    """Makes the shrink state s [1|B,1|T,G,K] (or per channel) from z = project(x), e and the transition.

    A tuple of several reads the memory as often; what they read stands side by side along V.
    """

    @property
    def reads(self) -> int:
        """How many reads there are."""
        return 1

    @abstractmethod
    def forward(self, z: Tensor, e: Tensor, transition: Transition) -> Tensor | tuple[Tensor, ...]: ...


class AbstractCouple(AbstractStage):
    """Sees i [B,T,H,V], e and s together, after the three stages, and returns them changed."""

    @abstractmethod
    def forward(self, i: Tensor, e: Tensor, s: Tensor) -> tuple[Tensor, Tensor, Tensor]: ...


class AbstractResponse(AbstractStage):
    """Makes the impulse response of every channel: expand, oscillation and shrink as one, where no data are seen."""

    @abstractmethod
    def forward(self, lags: Tensor) -> Tensor:
        """The response [V,N] at these whole lags [N] in float64, before its decay; in float32 or wider."""

    def log_decay(self) -> Tensor | None:
        """Log-decays [V] or [1] ≤ 0 in nats: the response at lag j is multiplied by exp(|j| · log_decay)."""
        return None
