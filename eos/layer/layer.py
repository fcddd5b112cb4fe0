"""The EOS layer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from eos import engine
from eos.config import EOSMixer
from eos.engine.state import EMPTY_LOG_SCALE
from eos.errors import CompositionError
from eos.layer.bonus import Bonus
from eos.layer.composition import Composition, Pasts, make_context
from eos.layer.denominator import States, divide
from eos.layer.direction import check_grid, ends, read_all
from eos.layer.mixer import AbstractCache, AbstractMixer
from eos.layer.readout import Readout
from eos.layer.refuse import refuse
from eos.parallel import continued, from_the_end
from eos.record import Memory, Recurrence
from eos.stage import undecayed


@dataclass(kw_only=True)
class EOSCache(AbstractCache):
    """The memory after the last token, None before the first, and the pasts of the short convolutions."""

    memory: Memory | None
    pasts: Pasts

    def tensors(self) -> Iterator[Tensor]:
        yield from self.pasts.values()
        if self.memory is not None:
            yield self.memory.value
            if self.memory.log_scale is not None:
                yield self.memory.log_scale

    @property
    def constant(self) -> bool:
        return self.memory is not None


class EOSLayer(AbstractMixer):
    """A token mixer composed of Expand, Oscillation and Shrink stages.

        i = φ(W_i x);  m_t = ψ(o_t, m_{t-1}) + e_t i_tᵀ;  y_t = m_tᵀ s_t;  output = W_o (norm(y + D ∘ i) ∘ gate(x))

    Arguments:
        mixer: the stages and the layer's options.
        width: model width D.
        layer: index of the layer, 0 ≤ layer < layers.
        layers: number of layers L of the model, for schedules over depth and for the output's initial scale.
        shared: the store of parameters that all layers share; give every layer of a model the same.

    Raises:
        RecipeError: an unknown stage or option.
        CompositionError: a composition that makes no sense, with the reason.
    """

    def __init__(
        self,
        mixer: EOSMixer,
        width: int,
        *,
        layer: int = 0,
        layers: int = 1,
        shared: dict[str, nn.Parameter] | None = None,
    ) -> None:
        super().__init__()
        if reason := refuse(mixer, width):
            raise CompositionError(reason)
        context = make_context(mixer, width, layer=layer, layers=layers, shared=shared)
        heads, values = context.heads, context.value_size
        self.mixer = mixer
        self.composition = Composition(mixer, width, context)
        self.bonus = Bonus(heads, context.key_size) if mixer.bonus else None
        self.skip: nn.Parameter | None = None
        if mixer.skip:
            self.skip = undecayed(torch.ones(width) if mixer.input == "ones" else torch.ones(heads, values))
        read = values * self.composition.shrink.reads
        self.readout = Readout(mixer.output, width=width, heads=heads, values=read, layers=layers, bias=mixer.bias)

    def cache(self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None) -> EOSCache:
        """An empty cache for decoding ``batch`` rows; its size does not grow."""
        return EOSCache(memory=None, pasts=self.composition.pasts(batch, device=device, dtype=dtype))

    def record(self, x: Float[Tensor, "B T D"], *, reset: Bool[Tensor, "B T"] | None = None) -> Recurrence:
        """What the engine runs for x: what ``eos.plan`` explains."""
        states, _ = self.composition(x, reset=reset, pasts=None)
        return self._recurrence(states, reset, None)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        *,
        reset: Bool[Tensor, "B T"] | None = None,
        cache: AbstractCache | None = None,
        shape: Sequence[int] | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Mix x; with a cache, continue what earlier calls saw and move the cache on.

        With the shape of a grid, x holds its tokens, the last axis the fastest, and is mixed in one pass (grid=places).
        """
        if cache is not None and not isinstance(cache, EOSCache):
            raise TypeError(f"an EOS layer takes the cache of its own cache(), got {type(cache).__name__}")
        if cache is not None and self.mixer.direction != "forward":
            raise CompositionError(f"direction={self.mixer.direction} sees what comes later, and cannot decode")
        if shape is not None:
            check_grid(x, shape)
        states, gating = self.composition(x, reset=reset, pasts=None if cache is None else cache.pasts, shape=shape)
        y = self._read(x, states, reset, cache, shape)
        # under autocast y comes in bfloat16, the norm's weights in float32
        y = y.to(self.readout.output.weight.dtype)
        if self.skip is None:
            output: Tensor = self.readout(y, gating)
        elif self.mixer.input == "ones":
            output = self.readout(y, gating, skipped=self.skip * x)
        else:
            output = self.readout(y + self.skip * states.i[..., : self.skip.shape[-1]], gating)
        return output

    def _recurrence(self, states: States, reset: Tensor | None, memory: Memory | None) -> Recurrence:
        return Recurrence(
            input=states.i,
            expand=states.e,
            shrink=states.s,
            transition=states.transition,
            memory=memory,
            read=self.mixer.read,
            reset=reset,
            substeps=self.mixer.substeps,
        )

    def _read(
        self, x: Tensor, states: States, reset: Tensor | None, cache: EOSCache | None, shape: Sequence[int] | None
    ) -> Tensor:
        """y: from one or both sides or from all at once, and divided by its denominator where there is one."""
        denominator, scales = self.mixer.denominator, None
        match self.mixer.direction:
            case "forward":
                y, scales = self._pass(states, reset, cache)
            case "both":
                y, _ = self._pass(states, reset, None)
                turned = None if reset is None else ends(reset).flip(1)
                with from_the_end():
                    backwards, _ = self.composition(x.flip(1), reset=turned, pasts=None, shape=shape)
                    y = y + self._pass(backwards, turned, None)[0].flip(1)
            case "all":
                y = read_all(self._recurrence(states, reset, None))
        if denominator is None:
            return y
        return divide(y, self.composition.context.value_size, floor=denominator.floor, log_scale=scales)

    def _pass(self, states: States, reset: Tensor | None, cache: EOSCache | None) -> tuple[Tensor, Tensor | None]:
        """What is read, with its bonus, several reads side by side; and M where a denominator is floored by it."""
        record = continued(self._recurrence(states, reset, None if cache is None else cache.memory))
        stabilise = record.transition.stabilise
        floored = self.mixer.denominator is not None and stabilise == "max"
        traced = floored or (self.bonus is not None and stabilise == "sum")
        scales: Tensor | None = None
        if cache is None or record.sizes["T"] > 1:
            y, memory, *traces = engine.scan(record, trace=traced)
            scales = traces[0] if traced else None
        else:
            y, memory = engine.step(record)
            if traced and memory.log_scale is not None:
                scales = memory.log_scale[:, None]
        if cache is not None:
            cache.memory = memory
        if not isinstance(y, Tensor):
            return torch.cat(y, -1), None
        if self.bonus is not None:
            y = self.bonus(y, states, None if scales is None else _before(scales, record))
        return y, scales if floored else None


def _before(scales: Float[Tensor, "B T H S"], record: Recurrence) -> Float[Tensor, "B T H S"]:
    """M_{t-1} from M at every step."""
    held = None if record.memory is None else record.memory.log_scale
    first = torch.full_like(scales[:, :1], EMPTY_LOG_SCALE) if held is None else held[:, None]
    before = torch.cat([first, scales[:, :-1]], 1)
    return before if record.reset is None else torch.where(record.reset[..., None, None], EMPTY_LOG_SCALE, before)
