"""Reading an encoded sequence: softmax attention to its tokens, or one memory of all of them."""

from dataclasses import dataclass

from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from eos.config import CrossMixer
from eos.errors import CompositionError
from eos.layer.projection import output_projection
from eos.stage import activate, full_precision, widen

#: A sum of weights is at least this.
FLOOR = 1e-6


@dataclass(frozen=True, kw_only=True)
class Context:
    """What is read, made once of an encoded sequence.

    Arguments:
        keys, values: [B,H,S,d] for softmax; or the memory Σ e iᵀ [B,H,d,d] and Σ e [B,H,d,1] where it is linear.
        seen: true for tokens that count [B,1,1,S]; None where all do, and where it is linear.
    """

    keys: Tensor
    values: Tensor
    seen: Tensor | None = None

    @property
    def bytes(self) -> int:
        """How much memory it takes."""
        held = (self.keys, self.values, *([] if self.seen is None else [self.seen]))
        return sum(tensor.numel() * tensor.element_size() for tensor in held)


class CrossAttention(nn.Module):
    """y_t = Σ_s softmax_s(q_tᵀ k_s / √d) v_s over a context; linear: Σ_s φ(q_t)ᵀ φ(k_s) v_s / Σ_s φ(q_t)ᵀ φ(k_s).

    Linear, the context is a memory whose size does not depend on how long it is.

    Source: arXiv:1706.03762, section 3.2.3; arXiv:2006.16236, section 3.2.
    """

    def __init__(self, options: CrossMixer, width: int, *, layers: int = 1) -> None:
        super().__init__()
        if width % options.heads:
            raise CompositionError(f"heads = {options.heads} do not divide the width {width}")
        if options.kind == "softmax" and options.activation != "elu_plus_one":
            raise CompositionError("cross-attention with softmax has no activation: take kind=linear")
        self.options = options
        self.query = nn.Linear(width, width, bias=options.bias)
        self.key = nn.Linear(width, width, bias=options.bias)
        self.value = nn.Linear(width, width, bias=options.bias)
        self.output = output_projection(width, width, layers=layers, bias=options.bias)

    def read(self, encoded: Float[Tensor, "B S D"], *, seen: Bool[Tensor, "B S"] | None = None) -> Context:
        """The context that an encoded sequence makes; tokens that are not ``seen`` are left out."""
        k, v = (self._heads(projection(encoded)) for projection in (self.key, self.value))
        if self.options.kind == "softmax":
            return Context(keys=k, values=v, seen=None if seen is None else seen[:, None, None])
        with full_precision(encoded):
            k, v = widen(activate(self.options.activation, k)), widen(v)
            if seen is not None:
                k = k * seen[:, None, :, None]
            return Context(keys=k.sum(2)[..., None], values=einsum(k, v, "b h s k, b h s v -> b h k v"))

    def forward(self, x: Float[Tensor, "B T D"], context: Context) -> Float[Tensor, "B T D"]:
        """What every token of x reads."""
        q = self._heads(self.query(x))
        if self.options.kind == "softmax":
            y = F.scaled_dot_product_attention(q, context.keys, context.values, attn_mask=context.seen)
        else:
            with full_precision(x):
                q = widen(activate(self.options.activation, q))
                y = (q @ context.values / (q @ context.keys).clamp(min=FLOOR)).to(x.dtype)
        output: Tensor = self.output(rearrange(y, "b h t d -> b t (h d)"))
        return output

    def _heads(self, z: Tensor) -> Tensor:
        return rearrange(z, "b t (h d) -> b h t d", h=self.options.heads)
