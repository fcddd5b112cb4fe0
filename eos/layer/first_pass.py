"""Two passes: a first memory of the same decays, whose read is what the shrink stage of the second sees."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from eos import engine
from eos.config import FirstPass as Options
from eos.errors import CompositionError
from eos.layer.build import build_stage
from eos.parallel import continued
from eos.record import Memory, Recurrence, Transition
from eos.stage import AbstractExpand, AbstractShrink, LayerContext


class FirstPass(nn.Module):
    """y_t = n_tᵀ s_t, n_t = n_{t-1} diag(o_t) + e_t (g_t ∘ e'_t)ᵀ: e', g and o over K are those of the second pass.

    Its V is the second pass's K, the slots; e and s come from stages of its own, and find the slots by content.

    Source: arXiv:2409.07146, section 3.
    """

    def __init__(self, options: Options, context: LayerContext) -> None:
        super().__init__()
        if context.groups != context.heads or context.substeps > 1:
            raise CompositionError("a first pass looks slots up head by head: groups must be null and substeps 1")
        if options.key_size is None and context.width % context.heads:
            raise CompositionError(
                f"{context.heads} heads do not divide the width {context.width}; give first_pass.key_size"
            )
        own = options.key_size or context.width // context.heads
        self.context = replace(context, key_size=own, value_size=context.key_size)
        self.expand: AbstractExpand = build_stage("expand", options.expand, self.context)
        self.shrink: AbstractShrink = build_stage("shrink", options.shrink, self.context)

    def empty(self, batch: int, *, device: torch.device | None) -> Float[Tensor, "B H K V"]:
        """The memory before the first token."""
        sizes = self.context
        return torch.zeros(batch, sizes.heads, sizes.key_size, sizes.value_size, device=device)

    def record(
        self,
        x: Float[Tensor, "B T D"],
        e: Tensor,
        transition: Transition,
        *,
        reset: Bool[Tensor, "B T"] | None = None,
        memory: Tensor | None = None,
    ) -> Recurrence:
        """What the engine runs first, for the e and the transition of the second pass.

        Raises:
            CompositionError: the second pass does more than decay over K and gate what it writes.
        """
        gate = transition.gate
        done = Transition(head=transition.head, key=transition.key, gate=gate)
        plain = all(getattr(transition, name) is getattr(done, name) for name in Transition.__dataclass_fields__)
        if not plain or transition.link != done.link or e.dim() == 5 or (gate is not None and gate.shape[-1] > 1):
            raise CompositionError("first_pass needs decays over heads or K, and gates and an e without a V axis")
        mirrored = Transition(head=transition.head, value=transition.key)
        own = self.expand(self.expand.project(x))
        s = self.shrink(self.shrink.project(x), own, mirrored)
        held = None if memory is None else Memory(value=memory)
        slots = e if gate is None else e * gate[..., 0]
        return Recurrence(input=slots, expand=own, shrink=s, transition=mirrored, memory=held, reset=reset)

    def forward(self, record: Recurrence) -> tuple[Float[Tensor, "B T HK"], Tensor]:
        """What the second pass's shrink stage sees, and the memory after it."""
        sizes = record.sizes
        if record.expand.is_meta:  # shapes alone
            empty = record.expand.new_empty(sizes["B"], sizes["T"], sizes["H"] * sizes["V"])
            return empty, self.empty(sizes["B"], device=empty.device)
        decodes = record.memory is not None and sizes["T"] == 1
        y, memory = engine.step(record) if decodes else engine.scan(continued(record))
        assert isinstance(y, Tensor)
        return y.flatten(2), memory.value
