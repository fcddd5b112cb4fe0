"""Causal softmax attention with rotary positions, grouped queries, and a sliding window or blocks."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from eos.config import SoftmaxMixer
from eos.errors import CompositionError
from eos.layer import AbstractCache, AbstractMixer, refuse
from eos.layer.norm import make_norm
from eos.layer.projection import output_projection
from eos.parallel import SequenceGroup, before, current, tail_before, whole
from eos.rotation import rotate


@dataclass(kw_only=True)
class AttentionCache(AbstractCache):
    """Keys (turned) and values [B,G,S,d] of the last tokens, and where the document of each begins [B,S].

    Arguments:
        seen: how many tokens there were in all; positions count from the first of them.
        packed: whether any of them began a new document.
    """

    keys: Tensor
    values: Tensor
    begins: Tensor
    seen: int = 0
    packed: bool = False

    def tensors(self) -> Iterator[Tensor]:
        yield from (self.keys, self.values, self.begins)


class SoftmaxAttention(AbstractMixer):
    """y_t = Σ_{s ≤ t} softmax_s(q_tᵀ k_s / √d) v_s, within a document, a window and a block.

    With score=relu the weights are relu(q_tᵀ k_s / √d). A window or a block of R tokens costs O(T · R); with
    direction=all, where s may be later than t too, it is a mask of T × T.

    Arguments:
        mixer: the options.
        width: model width D.
        layers: number of layers L of the model, for the output's initial scale.

    Raises:
        CompositionError: sizes that do not divide.

    Source: arXiv:1706.03762; arXiv:2104.09864 (rotary); arXiv:2305.13245 (grouped queries); arXiv:2210.10340, section
    4 (blocks and relu).
    """

    def __init__(self, mixer: SoftmaxMixer, width: int, *, layers: int = 1) -> None:
        super().__init__()
        if reason := refuse(mixer, width):
            raise CompositionError(reason)
        self.mixer = mixer
        self.groups = mixer.groups or mixer.heads
        self.size = width // mixer.heads
        self.reach = min((n for n in (mixer.window, mixer.block) if n is not None), default=None)
        self.query = nn.Linear(width, width, bias=mixer.bias)
        self.key = nn.Linear(width, self.groups * self.size, bias=mixer.bias)
        self.value = nn.Linear(width, self.groups * self.size, bias=mixer.bias)
        self.norm = make_norm(mixer.norm, width)
        self.output = output_projection(width, width, layers=layers, bias=mixer.bias)

    def cache(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> AttentionCache:
        """An empty cache; it grows with the tokens seen, up to the window."""
        empty = torch.empty(batch, self.groups, 0, self.size, device=device, dtype=dtype)
        begins = torch.empty(batch, 0, dtype=torch.long, device=device)
        return AttentionCache(keys=empty, values=empty, begins=begins)

    def forward(
        self, x: Float[Tensor, "B T D"], *, reset: Bool[Tensor, "B T"] | None = None, cache: AbstractCache | None = None
    ) -> Float[Tensor, "B T D"]:
        """Mix x; with a cache, continue what earlier calls saw and move the cache on."""
        if cache is None:
            past = self.cache(x.shape[0], device=x.device, dtype=x.dtype)
        elif isinstance(cache, AttentionCache):
            past = cache
        else:
            raise TypeError(f"softmax attention takes the cache of its own cache(), got {type(cache).__name__}")
        if cache is not None and self.mixer.direction != "forward":
            raise CompositionError(f"direction={self.mixer.direction} sees what comes later, and cannot decode")
        q, k, v = (
            rearrange(projection(x), "b t (h d) -> b h t d", d=self.size)
            for projection in (self.query, self.key, self.value)
        )
        group = current() if cache is None else None
        start = past.seen if group is None else group.rank * x.shape[1]
        if self.mixer.rope:
            angle = self._angles(start, x.shape[1], x.device)
            q, k = (rotate(z, angle.to(torch.promote_types(z.dtype, torch.float32))).to(z.dtype) for z in (q, k))
        if group is not None and self.mixer.direction == "all":
            k, v = (whole(z, group, axis=2) for z in (k, v))
            reset = None if reset is None else whole(reset, group, axis=1)
        elif group is not None:
            self._fetch(past, k, v, reset, group)
        self._append(past, k, v, reset)
        y = self._attend(q, past, start)
        self._trim(past)
        # under autocast y comes in bfloat16, the norm's weights in float32
        y = rearrange(y, "b h t d -> b t (h d)").to(self.output.weight.dtype)
        output: Tensor = self.output(self.norm(y))
        return output

    def _angles(self, start: int, length: int, device: torch.device) -> Tensor:
        """[T,d/2] in float64 modulo 2π: in float32 the angle of position 65536 is off by 4e-3."""
        pairs = torch.arange(self.size // 2, dtype=torch.float64, device=device)
        theta = self.mixer.rope_base ** (-2 * pairs / self.size)
        positions = torch.arange(start, start + length, dtype=torch.float64, device=device)
        return torch.remainder(positions[:, None] * theta, 2 * math.pi)

    def _fetch(self, past: AttentionCache, k: Tensor, v: Tensor, reset: Tensor | None, group: SequenceGroup) -> None:
        """Put what comes from the parts of the sequence before into an empty cache: all, or as much as is seen."""
        past.seen = group.rank * k.shape[2]
        if self.reach is not None and self.reach - 1 <= k.shape[2]:
            # in front of the first part there is nothing, not zeros
            seen = self.reach - 1 if group.rank else 0
            tails = (tail_before(z, self.reach - 1, group, axis=2) for z in (k, v))
            past.keys, past.values = (tail.narrow(2, 0, seen) for tail in tails)
        else:
            past.keys, past.values = (before(z, group, axis=2) for z in (k, v))
        begins = past.begins.new_zeros(k.shape[0], past.seen)
        if reset is not None:
            positions = torch.arange(past.seen, device=k.device)
            begins = torch.where(before(reset, group, axis=1), positions, begins).cummax(1).values
        past.begins = begins[:, past.seen - past.keys.shape[2] :]

    def _append(self, past: AttentionCache, k: Tensor, v: Tensor, reset: Tensor | None) -> None:
        batch, length = k.shape[0], k.shape[2]
        begins = past.begins[:, -1:] if past.begins.shape[1] else past.begins.new_zeros(batch, 1)
        begins = begins.expand(batch, length)
        if reset is not None:
            positions = torch.arange(past.seen, past.seen + length, device=k.device)
            begins = torch.where(reset, positions, begins).cummax(1).values
        past.keys = torch.cat([past.keys.to(k.dtype), k], 2)
        past.values = torch.cat([past.values.to(v.dtype), v], 2)
        past.begins = torch.cat([past.begins, begins], 1)
        past.seen += length
        past.packed |= reset is not None

    def _attend(self, q: Tensor, past: AttentionCache, start: int) -> Tensor:
        """What the queries from position ``start`` on read."""
        k, v = past.keys, past.values
        if self.groups != self.mixer.heads:
            ratio = self.mixer.heads // self.groups
            k, v = (repeat(z, "b g s d -> b (g r) s d", r=ratio) for z in (k, v))
        length, total = q.shape[2], k.shape[2]
        causal = self.mixer.direction == "forward"
        if self.reach is not None and total > 2 * self.reach and causal:
            return self._attend_nearby(q, k, v, past, self.reach)
        everything = self.mixer.block is None and (self.reach is None or total <= self.reach) and not past.packed
        if everything and (length in (1, total) or not causal) and self.mixer.score == "softmax":
            return F.scaled_dot_product_attention(q, k, v, is_causal=causal and length > 1)
        positions = torch.arange(past.seen - total, past.seen, device=q.device).expand(q.shape[0], -1)
        own = slice(start - past.seen + total, start - past.seen + total + length)
        mask = self._visible(positions[:, own], positions, past.begins[:, own], past.begins)
        return self._weigh(q, k, v, mask[:, None])

    def _attend_nearby(self, q: Tensor, k: Tensor, v: Tensor, past: AttentionCache, reach: int) -> Tensor:
        """Pieces of ``reach`` queries, each with its own keys and those of the piece before."""
        batch, _, length, _ = q.shape
        pieces = -(-length // reach)
        after, before = pieces * reach - length, reach + length - k.shape[2]
        first = past.seen - length - reach
        positions = torch.arange(first, first + (pieces + 1) * reach, device=q.device).expand(batch, -1)
        # Places in front of all tokens are no document's.
        begins = F.pad(F.pad(past.begins, (before, 0), value=-1), (0, after), value=-1)
        k, v = (F.pad(z, (0, 0, before, after)) for z in (k, v))

        def pairs(z: Tensor) -> Tensor:
            own = z.unflatten(-2, (pieces + 1, reach))
            both = torch.cat([own[..., :-1, :, :], own[..., 1:, :, :]], -2)
            return both.movedim(-3, 1).flatten(0, 1)

        def pieced(z: Tensor) -> Tensor:
            cut: Tensor = z.unflatten(-2, (pieces, reach))
            return cut.movedim(-3, 1).flatten(0, 1)

        own, seen = (x[..., None] for x in (positions, begins))
        mask = self._visible(
            pieced(own[:, reach:])[..., 0],
            pairs(own)[..., 0],
            pieced(seen[:, reach:])[..., 0],
            pairs(seen)[..., 0],
        )
        y = self._weigh(pieced(F.pad(q, (0, 0, 0, after))), pairs(k), pairs(v), mask[:, None])
        return rearrange(y, "(b n) h r d -> b h (n r) d", b=batch)[:, :, :length]

    def _visible(self, q: Tensor, k: Tensor, q_begins: Tensor, k_begins: Tensor) -> Tensor:
        """True where the query at position q [B,T] may look at the key at position k [B,S], as [B,T,S]."""
        distance = q[:, :, None] - k[:, None]
        mask = q_begins[:, :, None] == k_begins[:, None]
        if self.mixer.direction == "forward":
            mask = mask & (distance >= 0)
        if self.mixer.window is not None:
            mask = mask & (distance.abs() < self.mixer.window)
        if self.mixer.block is not None:
            q_block, k_block = (
                torch.div(x - begins, self.mixer.block, rounding_mode="floor")
                for x, begins in ((q, q_begins), (k, k_begins))
            )
            mask = mask & (q_block[:, :, None] == k_block[:, None])
        return mask

    def _weigh(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Σ_s weight_ts v_s; every query sees itself, so no softmax is over nothing."""
        if self.mixer.score == "softmax":
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return (F.relu(q @ k.mT * self.size**-0.5) * mask) @ v

    def _trim(self, past: AttentionCache) -> None:
        if self.reach is None:
            return
        start = max(0, past.keys.shape[2] - self.reach + 1)
        past.keys, past.values = past.keys[:, :, start:].contiguous(), past.values[:, :, start:].contiguous()
        past.begins = past.begins[:, start:].contiguous()
