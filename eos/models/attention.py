"""Causal softmax attention with rotary positions, grouped queries and a sliding window."""

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
from eos.layer.projection import output_projection
from eos.record import rotate


@dataclass(kw_only=True)
class AttentionCache(AbstractCache):
    """Keys (turned) and values [B,G,S,d] and the documents [B,S] of the last tokens, at most window − 1 of them.

    Arguments:
        seen: how many tokens there were in all.
        packed: whether any of them began a new document.
    """

    keys: Tensor
    values: Tensor
    documents: Tensor
    seen: int = 0
    packed: bool = False

    def tensors(self) -> Iterator[Tensor]:
        yield from (self.keys, self.values, self.documents)


class SoftmaxAttention(AbstractMixer):
    """y_t = Σ_{s ≤ t} softmax_s(q_tᵀ k_s / √d) v_s, within a document and a window.

    Arguments:
        mixer: the options.
        width: model width D.
        layers: number of layers L of the model, for the output's initial scale.

    Raises:
        CompositionError: sizes that do not divide.

    Source: arXiv:1706.03762; arXiv:2104.09864 (rotary); arXiv:2305.13245 (grouped queries).
    """

    def __init__(self, mixer: SoftmaxMixer, width: int, *, layers: int = 1) -> None:
        super().__init__()
        if reason := refuse(mixer, width):
            raise CompositionError(reason)
        self.mixer = mixer
        self.groups = mixer.groups or mixer.heads
        self.size = width // mixer.heads
        self.query = nn.Linear(width, width, bias=mixer.bias)
        self.key = nn.Linear(width, self.groups * self.size, bias=mixer.bias)
        self.value = nn.Linear(width, self.groups * self.size, bias=mixer.bias)
        self.output = output_projection(width, width, layers=layers, bias=mixer.bias)

    def cache(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> AttentionCache:
        """An empty cache; it grows with the tokens seen, up to the window."""
        empty = torch.empty(batch, self.groups, 0, self.size, device=device, dtype=dtype)
        documents = torch.empty(batch, 0, dtype=torch.long, device=device)
        return AttentionCache(keys=empty, values=empty, documents=documents)

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
        q, k, v = (
            rearrange(projection(x), "b t (h d) -> b h t d", d=self.size)
            for projection in (self.query, self.key, self.value)
        )
        if self.mixer.rope:
            angle = self._angles(past.seen, x.shape[1], x.device)
            q, k = (rotate(z, angle.to(torch.promote_types(z.dtype, torch.float32))).to(z.dtype) for z in (q, k))
        self._append(past, k, v, reset)
        y = self._attend(q, past)
        self._trim(past)
        output: Tensor = self.output(rearrange(y, "b h t d -> b t (h d)"))
        return output

    def _angles(self, start: int, length: int, device: torch.device) -> Tensor:
        """[T,d/2] in float64 modulo 2π: in float32 the angle of position 65536 is off by 4e-3."""
        pairs = torch.arange(self.size // 2, dtype=torch.float64, device=device)
        theta = self.mixer.rope_base ** (-2 * pairs / self.size)
        positions = torch.arange(start, start + length, dtype=torch.float64, device=device)
        return torch.remainder(positions[:, None] * theta, 2 * math.pi)

    def _append(self, past: AttentionCache, k: Tensor, v: Tensor, reset: Tensor | None) -> None:
        batch, length = k.shape[0], k.shape[2]
        last = past.documents[:, -1:] if past.documents.shape[1] else past.documents.new_zeros(batch, 1)
        documents = last.expand(batch, length) if reset is None else last + reset.cumsum(1)
        past.keys = torch.cat([past.keys.to(k.dtype), k], 2)
        past.values = torch.cat([past.values.to(v.dtype), v], 2)
        past.documents = torch.cat([past.documents, documents], 1)
        past.seen += length
        past.packed |= reset is not None

    def _attend(self, q: Tensor, past: AttentionCache) -> Tensor:
        k, v = past.keys, past.values
        if self.groups != self.mixer.heads:
            ratio = self.mixer.heads // self.groups
            k, v = (repeat(z, "b g s d -> b (g r) s d", r=ratio) for z in (k, v))
        mask = self._mask(q.shape[2], past)
        causal = mask is None and q.shape[2] > 1
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)

    def _mask(self, length: int, past: AttentionCache) -> Tensor | None:
        """True where a query may look, [T,S] or [B,1,T,S]; None where being causal says it all."""
        window, total = self.mixer.window, past.keys.shape[2]
        narrow = window is not None and total > window
        if not narrow and not past.packed and length in (1, total):
            return None
        distance = torch.arange(total - length, total, device=past.keys.device)[:, None] - torch.arange(
            total, device=past.keys.device
        )
        mask = distance >= 0
        if window is not None:
            mask &= distance < window
        if not past.packed:
            return mask
        same = past.documents[:, -length:, None] == past.documents[:, None, :]
        return (mask & same)[:, None]

    def _trim(self, past: AttentionCache) -> None:
        if self.mixer.window is None:
            return
        start = max(0, past.keys.shape[2] - self.mixer.window + 1)
        past.keys, past.values = past.keys[:, :, start:].contiguous(), past.values[:, :, start:].contiguous()
        past.documents = past.documents[:, start:].contiguous()
