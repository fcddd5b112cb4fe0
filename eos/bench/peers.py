"""What others' kernels are called with to compute what a record of ``eos bench scan`` does; imported when asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import Tensor

from eos.bench.scan_cases import SOFTMAX, Held
from eos.errors import EOSError


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A function of another package.

    Arguments:
        package: what pip installs it from.
        module, function: where it is found.
        call: y [B,T,H,V] of that function and what :func:`eos.bench.scan_cases.draw` returns.
        order: the order in which the peer wants [B,T,H,X] stored, so that no copy is part of its time.
        same: whether it computes what the record does.
    """

    package: str
    module: str
    function: str
    call: Callable[[Any, Held], Tensor]
    order: tuple[int, int, int, int] = (0, 1, 2, 3)
    same: bool = True

    def load(self) -> Any:
        """The function.

        Raises:
            EOSError: when the package is not there, with how to install it.
        """
        try:
            return getattr(import_module(self.module), self.function)
        except ModuleNotFoundError as error:
            if error.name != self.module.partition(".")[0]:
                raise
            raise EOSError(f"peer not installed: pip install {self.package}") from error

    def stored(self, x: Tensor) -> Tensor:
        """The same [B,T,H,X] as the peer wants it in memory, as a leaf; others are left as they are."""
        if x.dim() != 4 or self.order == (0, 1, 2, 3):
            return x
        back = [self.order.index(axis) for axis in range(4)]
        return x.detach().permute(self.order).contiguous().permute(back).requires_grad_(x.requires_grad)


def _retention(function: Any, x: Held) -> Any:
    return function(q=x["shrink"], k=x["expand"], v=x["input"], scale=1.0)[0]


def _decayed(function: Any, x: Held) -> Any:
    return function(q=x["shrink"], k=x["expand"], v=x["input"], g=x["decay"], scale=1.0)[0]


def _gated_delta_rule(function: Any, x: Held) -> Any:
    return function(q=x["shrink"], k=x["expand"], v=x["input"], g=x["decay"], beta=x["strength"], scale=1.0)[0]


def _elementwise(function: Any, x: Held) -> Any:
    return function(x=x["input"].squeeze(2), g=x["decay"].squeeze(2))[0].unsqueeze(2)


def _selective_scan(function: Any, x: Held) -> Any:
    input, step, expand, shrink = (x[name].squeeze(2).mT for name in ("input", "step", "expand", "shrink"))
    return function(u=input, delta=step, A=x["rate"][0].mT.contiguous(), B=expand, C=shrink).mT.unsqueeze(2)


def _softmax(function: Any, x: Held) -> Any:
    query, key, value = (x[name].transpose(1, 2) for name in ("shrink", "expand", "input"))
    return function(query, key, value, is_causal=True).transpose(1, 2)


def _fla(module: str, function: str, call: Callable[[Any, Held], Tensor]) -> Peer:
    return Peer(package="fla-core", module=f"fla.ops.{module}", function=function, call=call)


#: Every peer by its name, as of fla-core 0.6 and mamba-ssm 2.
PEERS = {
    "chunk_retention": _fla("retention", "chunk_retention", _retention),
    "chunk_simple_gla": _fla("simple_gla", "chunk_simple_gla", _decayed),
    "chunk_gla": _fla("gla", "chunk_gla", _decayed),
    "chunk_gated_delta_rule": _fla("gated_delta_rule", "chunk_gated_delta_rule", _gated_delta_rule),
    "chunk_hgrn": _fla("hgrn", "chunk_hgrn", _elementwise),
    "fused_recurrent_hgrn": _fla("hgrn", "fused_recurrent_hgrn", _elementwise),
    "selective_scan_fn": Peer(
        package="mamba-ssm",
        module="mamba_ssm.ops.selective_scan_interface",
        function="selective_scan_fn",
        call=_selective_scan,
        order=(0, 2, 3, 1),
    ),
    SOFTMAX: Peer(
        package="torch",
        module="torch.nn.functional",
        function="scaled_dot_product_attention",
        call=_softmax,
        order=(0, 2, 1, 3),
        same=False,
    ),
}
