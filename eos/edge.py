"""Edges: tensors that are not made yet, pointwise functions of a pre-activation.

A gate is a log-sigmoid of a projection, a step its softplus, an expand state often its silu. Made by torch, each is a
pass over memory before the scan; the Triton kernels can make it as they load the pre-activation. So a stage returns an
:class:`Edge`, and a plan says whether its kernels make it (eos.engine.edges) or torch does, as soon as one of its
functions takes it.
"""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from eos.errors import RecordError

Form = Literal["log_sigmoid", "softplus", "silu", "complement"]

_FORMS: dict[Form, Callable[[Tensor, float], Tensor]] = {
    "log_sigmoid": lambda u, tau: F.logsigmoid(u) if tau == 1.0 else F.logsigmoid(u) / tau,
    "softplus": lambda u, tau: F.softplus(u),
    "silu": lambda u, tau: F.silu(u),
    "complement": lambda u, tau: -torch.expm1(u),
}
#: What can be asked of an edge without making it.
_ASKED = {
    Tensor.dim,
    Tensor.size,
    Tensor.numel,
    Tensor.is_floating_point,
    Tensor.__hash__,
    *(
        getattr(Tensor, name).__get__
        for name in "shape dtype device ndim is_cuda is_meta requires_grad is_sparse layout".split()
    ),
}


class Edge(Tensor):
    """f(z + bias), made by the first function of torch that takes it, and then kept.

    Its shape, dtype and device are asked for as of any tensor; once made it is that tensor to the kernels as well. A
    :class:`torch.autograd.Function`, and so a hook of a module's backward pass, is no function of torch: hand it
    ``edge.made()``, or an error says so. z must not be written to before it is made.

    Arguments:
        form: f, one of log_sigmoid(u) / tau, softplus(u), silu(u), and the complement −expm1(u) of a log-decay.
        z: the pre-activation [B,T,H,…], or for a complement the log-decay, which may be an edge itself.
        bias: [H,…], with the axes of z after T; None for none.
        tau: divides log_sigmoid; > 0.
        axis: 3 or 4 to give what is made one more axis of size 1 there, as gates over V or over K have.
    """

    form: Form
    z: Tensor
    bias: Tensor | None
    tau: float
    axis: int | None
    _made: Tensor | None
    _taught: bool
    _written: int | None

    @staticmethod
    def __new__(
        cls, form: Form, z: Tensor, bias: Tensor | None = None, *, tau: float = 1.0, axis: int | None = None
    ) -> "Edge":
        """An empty wrapper: its entries are nowhere until they are made."""
        shape = list(z.shape)
        if axis is not None:
            shape.insert(axis, 1)
        taught = torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in (z, bias))
        dtype = _dtype(form, z)
        edge: Edge = Tensor._make_wrapper_subclass(cls, shape, dtype=dtype, device=z.device, requires_grad=taught)
        if taught:
            with torch._C.DisableTorchFunctionSubclass():
                edge.register_hook(_refuse)  # type: ignore[no-untyped-call]
        return edge

    def __init__(
        self, form: Form, z: Tensor, bias: Tensor | None = None, *, tau: float = 1.0, axis: int | None = None
    ) -> None:
        self.form, self.z, self.bias, self.tau, self.axis = form, z, bias, tau, axis
        self._made = None
        self._taught = self.requires_grad
        self._written = _writes(z)

    @property
    def waiting(self) -> bool:
        """Whether nothing has made it yet."""
        return self._made is None

    def made(self) -> Tensor:
        """The tensor that this edge stands for.

        Raises:
            RecordError: it came out of an autograd function, which would be passed by, or z was written to since.
        """
        kept = self._made
        lost = kept is not None and (
            (torch.is_grad_enabled() and self._taught and not kept.requires_grad)
            or (kept.is_inference() and not torch.is_inference_mode_enabled())
        )
        if kept is None or lost:
            self.check()
            with nullcontext() if self._taught else torch.no_grad():
                kept = _make(self.form, self.z, self.bias, self.tau, self.axis)
            self._made = kept
        return kept

    def check(self) -> None:
        """Refuse to be made, by torch or by a kernel, of what is not what it was."""
        if self.requires_grad and not self._taught:
            raise RecordError("an Edge came out of a torch.autograd.Function; let its forward return edge.made()")
        if self._written != _writes(self.z):
            raise RecordError("what an Edge is made of was written to before it was made; write to a copy")

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Iterable[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Any function of torch takes what is made; a question about its form is answered without."""
        if func in _ASKED:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        args, kwargs = tree_map(made, (args, kwargs or {}))
        return func(*args, **kwargs)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        """Where a wrapper arrives that went around the functions of torch."""
        raise RecordError(f"{func} was handed an Edge that is not made; hand it edge.made()")


def made(x: Any) -> Any:
    """What an edge stands for; anything else as it is."""
    return x.made() if isinstance(x, Edge) else x


def log_sigmoid(z: Tensor, bias: Tensor | None = None, *, tau: float = 1.0) -> Tensor:
    """log_sigmoid(z + bias) / tau, a log-decay."""
    return _edge("log_sigmoid", z, bias, tau=tau)


def softplus(z: Tensor, bias: Tensor | None = None) -> Tensor:
    """softplus(z + bias), a step."""
    return _edge("softplus", z, bias)


def silu(z: Tensor) -> Tensor:
    """z sigmoid(z)."""
    return _edge("silu", z, None)


def complement(log_decay: Tensor, *, axis: int) -> Tensor:
    """1 − o of a log-decay log o over K (axis 4) or over V (axis 3), as a gate [B,T,H,K,1] or [B,T,H,1,V]."""
    return _edge("complement", log_decay, None, axis=axis)


def _edge(form: Form, z: Tensor, bias: Tensor | None, *, tau: float = 1.0, axis: int | None = None) -> Tensor:
    # torch.compile fuses what it traces by itself; what a bias would make larger than z is no pass that z could save
    if torch.compiler.is_compiling() or (bias is not None and not _fits(z, bias)):
        return _make(form, z, bias, tau, axis)
    return Edge(form, z, bias, tau=tau, axis=axis)


def _make(form: Form, z: Tensor, bias: Tensor | None, tau: float, axis: int | None) -> Tensor:
    dtype = _dtype(form, z)
    u = made(z).to(dtype) if bias is None else (z + bias.to(dtype)).to(dtype)
    whole = _FORMS[form](u, tau)
    return whole if axis is None else whole.unsqueeze(axis)


def _fits(z: Tensor, bias: Tensor) -> bool:
    """Whether a bias has the axes of z after T, and adds none of its own."""
    return bias.dim() == z.dim() - 2 and all(b in (1, n) for b, n in zip(bias.shape, z.shape[2:], strict=True))


def _writes(z: Tensor) -> int | None:
    """How often a tensor was written to; of an edge and under inference nobody counts."""
    return None if isinstance(z, Edge) or z.is_inference() else z._version


def _dtype(form: Form, z: Tensor) -> torch.dtype:
    """Log-decays and steps are float32 or wider: they add up over thousands of steps."""
    return torch.promote_types(z.dtype, torch.float32) if form in ("log_sigmoid", "softplus") else z.dtype


def _refuse(gradient: Tensor) -> Tensor:
    raise RecordError("a torch.autograd.Function was handed an Edge that is not made; hand it edge.made()")
