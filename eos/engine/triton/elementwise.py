"""Launches the elementwise kernels: what eos.engine.elementwise.Elementwise is elsewhere, with rate × step unmade."""

from dataclasses import dataclass

import torch
from torch import Tensor

from eos.engine.algorithm import AbstractAlgorithm, Gradients
from eos.engine.lower import Lowered
from eos.engine.triton.kernels.elementwise_backward import elementwise_backward
from eos.engine.triton.kernels.elementwise_forward import elementwise_forward
from eos.engine.triton.kernels.scans import Entries
from eos.engine.triton.role import batch_stride, entries, rate_entries, strides
from eos.engine.triton.sides import bias_gradient
from eos.engine.triton.tiles import Scans

#: Reads of one launch.
TOGETHER = 2
#: A program stores what it loads again a chunk later, which no other warp may do in between.
WARPS = 1


@dataclass(frozen=True)
class TritonElementwise(AbstractAlgorithm):
    """Associative scans of chunks, one row of K at a time."""

    tiles: Scans
    takes_activations = True

    def forward(self, x: Lowered, memory: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        launch = _Launch(x, self.tiles.forward, self.tiles.value)
        ys: list[Tensor] = []
        memories = memory
        for start in range(0, len(x.reads), TOGETHER):
            found, memories = launch.forward(memory, x.reads[start : start + TOGETHER])
            ys += found
        return tuple(ys), memories[:, -1].unflatten(0, memory.shape[:2])

    def backward(
        self, x: Lowered, memory: Tensor, dys: tuple[Tensor, ...], dmemory: Tensor
    ) -> tuple[Gradients, Tensor]:
        launch = _Launch(x, self.tiles.backward, self.tiles.value)
        _, memories = launch.forward(memory, ())
        total, dbefore = None, dmemory
        for start in range(0, len(x.reads), TOGETHER):
            part = slice(start, start + TOGETHER)
            after = dmemory if start == 0 else torch.zeros_like(dmemory)
            found, before = launch.backward(memories, memory, x.reads[part], dys[part], after)
            total = found if total is None else _added(total, found)
            dbefore = before if start == 0 else dbefore + before
        assert total is not None
        return total, dbefore


class _Launch:
    """One window of a lowered record."""

    def __init__(self, x: Lowered, chunk: int, tile: int) -> None:
        self.x, self.chunk = x, chunk
        self.batch, self.steps, self.heads, self.value = x.input.shape
        self.key = x.expand.shape[3]
        self.count = -(-self.steps // chunk)
        self.tile = min(tile, 1 << (self.value - 1).bit_length())
        self.tiles = -(-self.value // self.tile)
        self.reset = x.input if x.reset is None else x.reset.contiguous().view(torch.uint8)
        rate, step = x.rate if x.rate is not None else (x.input, x.input)
        self.rate = rate.detach()
        self.step = step.detach()
        self.decays = [x.over_key, x.over_value, x.over_both]
        inside = x.inside
        biases = [inside.key, inside.value, inside.step]
        #: Which of these is a pre-activation, and its bias; 3 where none is.
        self.made = next((place for place, bias in enumerate(biases) if bias is not None), 3)
        self.bias: Tensor | None = [*biases, None][self.made]
        self.made_tau = [inside.key_tau, inside.value_tau, 1.0, 1.0][self.made]
        pairs = zip(self.decays, (inside.key, inside.value, None), strict=True)
        self.wanted = [_differentiable(decay) or _differentiable(bias) for decay, bias in pairs]

    def forward(self, memory: Tensor, reads: tuple[Tensor, ...]) -> tuple[list[Tensor], Tensor]:
        """Some reads, and the memories [B·H, N+1, K, V] between chunks."""
        x, programs = self.x, self.batch * self.heads
        memories = memory.new_empty(programs, self.count + 1, self.key, self.value)
        memories[:, 0] = memory.flatten(0, 1)
        outs = [torch.empty_like(x.input, memory_format=torch.contiguous_format) for _ in reads]
        first, second = (*reads, x.input, x.input)[:2]
        first_out, second_out = (*outs, x.input, x.input)[:2]
        elementwise_forward[(self.tiles * programs,)](
            entries(x.input),
            entries(x.expand),
            entries(first),
            entries(second),
            *self._decay_entries(),
            rate_entries(self.rate),
            self._bias_entries(),
            entries(first_out),
            entries(second_out),
            self.reset,
            memories,
            batch_stride(x.input),
            batch_stride(x.expand),
            batch_stride(first),
            batch_stride(second),
            *self._decay_batches(),
            batch_stride(first_out),
            self.steps,
            self.heads,
            self.key,
            READS=len(reads),
            **self._flags(reads),
        )
        if x.before:
            for y, s in zip(outs, reads, strict=True):
                y[:, 0] = _read(memory, s[:, 0].detach())
        return outs, memories

    def backward(
        self,
        memories: Tensor,
        memory: Tensor,
        reads: tuple[Tensor, ...],
        dys: tuple[Tensor, ...],
        dmemory: Tensor,
    ) -> tuple[Gradients, Tensor]:
        """The gradients through some reads, and that of the memory before the window."""
        x = self.x
        adjoint = dmemory.clone(memory_format=torch.contiguous_format)
        dinput = torch.empty_like(x.input, memory_format=torch.contiguous_format)
        dexpand = self._gradient(x.expand, of_key=True, of_value=x.expand.dim() == 5)
        dreads = [self._gradient(s, of_key=True, of_value=s.dim() == 5) for s in reads]
        key_every, value_every = (t is not None and t.shape[3] > 1 for t in self.decays[:2])
        axes = ((key_every, False), (False, value_every), (True, True))
        dkey, dvalue, dboth = (
            self._gradient(t, of_key=of_key, of_value=of_value) if t is not None and wanted else dinput
            for t, wanted, (of_key, of_value) in zip(self.decays, self.wanted, axes, strict=True)
        )
        rated = x.rate is not None and any(_differentiable(t) for t in (*x.rate, x.inside.step))
        of_step = [rated and self.step.shape[axis] > 1 for axis in (3, 4)]
        dstep = self._gradient(self.step, of_key=of_step[0], of_value=of_step[1]) if rated else dinput
        drate = memories.new_zeros(self.batch, self.heads, self.key, self.value)
        first, second = (*reads, x.input, x.input)[:2]
        first_dy, second_dy = (*dys, x.input, x.input)[:2]
        dfirst, dsecond = (*dreads, dinput, dinput)[:2]
        elementwise_backward[(self.tiles * self.batch * self.heads,)](
            entries(x.input),
            entries(x.expand),
            entries(first),
            entries(second),
            *self._decay_entries(),
            rate_entries(self.rate),
            self._bias_entries(),
            entries(first_dy),
            entries(second_dy),
            self.reset,
            memories,
            adjoint,
            *(entries(d) for d in (dinput, dexpand, dfirst, dsecond, dkey, dvalue, dboth, dstep)),
            drate,
            batch_stride(x.input),
            batch_stride(x.expand),
            batch_stride(first),
            batch_stride(second),
            *self._decay_batches(),
            batch_stride(first_dy),
            batch_stride(second_dy),
            *(batch_stride(d) for d in (dinput, dexpand, dfirst, dkey, dvalue, dboth, dstep)),
            self.steps,
            self.heads,
            self.key,
            READS=len(reads),
            STEP_K=of_step[0],
            KEY_EVERY=key_every,
            VALUE_EVERY=value_every,
            DKEY=self.wanted[0],
            DVALUE=self.wanted[1],
            DBOTH=self.wanted[2],
            DRATE=rated,
            **self._flags(reads),
        )
        if x.before:
            for ds, s, dy in zip(dreads, reads, dys, strict=True):
                ds[:, 0] = 0.0
                ds[:, 0, : self.heads] = _read_gradient(memory, dy[:, 0], s)
                adjoint += _write(s[:, 0].detach(), dy[:, 0])
        bias = None
        if self.bias is not None and self.bias.requires_grad:  # before digits are rounded to those of z
            made = self._over_tiles((dkey, dvalue, dstep)[self.made])
            bias = bias_gradient(made if made.dim() == self.bias.dim() + 2 else made.squeeze(3), self.bias)
        found_step = self._summed(dstep, self.step) if rated else None
        decays = [
            self._summed(d, t) if t is not None and wanted else None
            for d, t, wanted in zip((dkey, dvalue, dboth), self.decays, self.wanted, strict=True)
        ]
        return (
            Gradients(
                input=dinput,
                expand=self._summed(dexpand, x.expand),
                reads=tuple(self._summed(d, s) for d, s in zip(dreads, reads, strict=True)),
                over_key=decays[0],
                over_value=decays[1],
                over_both=decays[2],
                rate=(drate.sum(0).sum_to_size(self.rate.shape), found_step) if rated else (None, None),
                biases=tuple(bias if place == self.made else None for place in range(3)),  # type: ignore[arg-type]
            ),
            adjoint,
        )

    def _flags(self, reads: tuple[Tensor, ...]) -> dict[str, object]:
        x = self.x
        over_key, over_value, over_both = self.decays
        return {
            "V": self.value,
            "C": self.chunk,
            "BV": self.tile,
            "EXPAND_V": x.expand.dim() == 5,
            "READ_V": any(s.dim() == 5 for s in reads),
            "KEY": over_key is not None,
            "VALUE": over_value is not None,
            "BOTH": over_both is not None,
            "RATE": x.rate is not None,
            "STEP_V": x.rate is not None and self.step.shape[-1] > 1,
            "LINK": x.link == "log_sigmoid",
            "TAU": x.tau,
            "BEFORE": x.before,
            "RESET": x.reset is not None,
            "MADE": self.bias is not None,
            "MADE_TAU": self.made_tau,
            "GATE": x.inside.gate is not None,
            "num_warps": WARPS,
        }

    def _decay_entries(self) -> list[Entries]:
        over_key, over_value, over_both = (self.x.input if t is None else t for t in self.decays)
        return [entries(over_key), entries(over_value), entries(over_both), entries(self.step)]

    def _bias_entries(self) -> Entries:
        """A bias over V has no K, and one over K no V; a kernel reads the axis that there is."""
        if self.bias is None:
            return Entries(self.x.input, 0, 0, 0, 0, 1)
        bias = self.bias.detach().float()
        if bias.dim() == 3:  # of a step over V
            return rate_entries(bias)
        head, entry = strides(bias)
        return Entries(bias, 0, head, entry, entry, 1)

    def _decay_batches(self) -> list[int]:
        return [batch_stride(self.x.input if t is None else t) for t in self.decays] + [batch_stride(self.step)]

    def _gradient(self, like: Tensor, *, of_key: bool, of_value: bool) -> Tensor:
        """Room for a gradient [B, S, H, K|1, V] in the tensor's dtype, or, without V, [B, S, tiles·H, K|1]."""
        key = self.key if of_key else 1
        if of_value:
            return like.new_empty(self.batch, self.steps, self.heads, key, self.value)
        return like.new_empty(self.batch, self.steps, self.tiles * self.heads, key, dtype=torch.float32)

    def _over_tiles(self, gradient: Tensor) -> Tensor:
        whole = gradient.shape[2] == self.heads and gradient.dim() == 5
        return gradient if whole else gradient.unflatten(2, (self.tiles, self.heads)).sum(2)

    def _summed(self, gradient: Tensor, like: Tensor) -> Tensor:
        """In the shape of the tensor: summed over the tiles of V and over what is shared."""
        gradient = self._over_tiles(gradient)
        if gradient.dim() < like.dim():
            gradient = gradient[..., None]
        elif gradient.dim() > like.dim():
            gradient = gradient.squeeze(3)
        return gradient.sum_to_size(like.shape).to(like.dtype)


def _differentiable(x: Tensor | None) -> bool:
    return x is not None and x.requires_grad


def _read(memory: Tensor, s: Tensor) -> Tensor:
    """Σ_k m_kv s_k, [B,H,V], of s [B,H,K] or [B,H,K,V]."""
    return (memory * (s if s.dim() == 4 else s[..., None])).sum(2)


def _read_gradient(memory: Tensor, dy: Tensor, s: Tensor) -> Tensor:
    product = memory * dy[:, :, None]
    return product if s.dim() == 5 else product.sum(-1)


def _write(s: Tensor, dy: Tensor) -> Tensor:
    return (s if s.dim() == 4 else s[..., None]) * dy[:, :, None]


def _added(left: Gradients, right: Gradients) -> Gradients:
    """Of two launches, each with its own reads."""

    def add(x: Tensor | None, y: Tensor | None) -> Tensor | None:
        return None if x is None or y is None else x + y

    return Gradients(
        input=add(left.input, right.input),
        expand=add(left.expand, right.expand),
        reads=left.reads + right.reads,
        over_key=add(left.over_key, right.over_key),
        over_value=add(left.over_value, right.over_value),
        over_both=add(left.over_both, right.over_both),
        rate=(add(left.rate[0], right.rate[0]), add(left.rate[1], right.rate[1])),
        biases=tuple(add(x, y) for x, y in zip(left.biases, right.biases, strict=True)),  # type: ignore[arg-type]
    )
