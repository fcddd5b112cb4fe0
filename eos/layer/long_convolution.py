"""Long convolutions with gates around them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from eos import engine
from eos.config import ConvolutionMixer
from eos.errors import CompositionError, RunError
from eos.layer.build import build_stage
from eos.layer.convolution import CausalConvolution
from eos.layer.mixer import AbstractCache, AbstractMixer
from eos.layer.norm import make_norm
from eos.layer.projection import output_projection
from eos.parallel import before, current, whole
from eos.record import Convolution, Memory, Recurrence, Transition
from eos.stage import AbstractResponse, LayerContext, activate, undecayed

VALUE, GATE = "value", "gate"


@dataclass(kw_only=True)
class ConvolutionCache(AbstractCache):
    """The last inputs of every convolution [B,P,V] or its memory, and the pasts of the short convolutions.

    Arguments:
        seen: how many tokens there were in all.
        responses: of every convolution [V,lags], made once; they say no more than the weights do, and are no state.
        modes: of every convolution its recurrence without input and memory, likewise.
    """

    inputs: list[Tensor]
    memories: list[Memory | None]
    pasts: dict[str, Tensor]
    seen: int = 0
    responses: list[Tensor] = field(default_factory=list)
    modes: list[Recurrence] = field(default_factory=list)

    def tensors(self) -> Iterator[Tensor]:
        yield from self.inputs
        yield from (memory.value for memory in self.memories if memory is not None)
        yield from self.pasts.values()


class LongConvolution(AbstractMixer):
    """y = W_o norm(g ∘ z_n), z_n = h_n ∗ (g_n ∘ z_{n-1}) + D_n ∘ (g_n ∘ z_{n-1}), z_0 = v; g, g_n and v project x.

    Arguments:
        mixer: the response and the options.
        width: model width D.
        layer: index of the layer, 0 ≤ layer < layers.
        layers: number of layers L of the model.

    Raises:
        CompositionError: what cannot be built, with the reason.

    Source: arXiv:2305.04749, section 3; arXiv:2302.10866, section 3.
    """

    def __init__(self, mixer: ConvolutionMixer, width: int, *, layer: int = 0, layers: int = 1) -> None:
        super().__init__()
        if mixer.decoding == "recurrence" and mixer.lags is None:
            raise CompositionError("decoding=recurrence needs lags, the number of its modes")
        if mixer.decoding == "recurrence" and mixer.direction != "forward":
            raise CompositionError(f"direction={mixer.direction} cannot decode, so decoding=recurrence means nothing")
        self.mixer = mixer
        channels = round(mixer.value_ratio * width)
        context = LayerContext(
            layer=layer, layers=layers, width=width, heads=1, groups=1, key_size=1, value_size=channels
        )
        gates = [f"{GATE}_{n}" for n in range(mixer.order)] if mixer.input_gate else []
        self.projections = nn.ModuleDict(
            {name: nn.Linear(width, channels, bias=mixer.bias) for name in (VALUE, *gates, GATE)}
        )
        self.convolutions = nn.ModuleDict()
        if mixer.short_convolution is not None:
            for name in self.projections:
                self.convolutions[name] = CausalConvolution(mixer.short_convolution, channels)
        self.responses = nn.ModuleList(build_stage("response", mixer.response, context) for _ in range(mixer.order))
        self.skips = nn.ParameterList(undecayed(torch.ones(channels)) for _ in range(mixer.order if mixer.skip else 0))
        self.norm = make_norm(mixer.norm, channels)
        self.output = output_projection(channels, width, layers=layers, bias=mixer.bias)

    def cache(
        self, batch: int, *, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> ConvolutionCache:
        """An empty cache; it grows with the tokens seen, up to ``lags`` of them."""
        order, channels = self.mixer.order, self.output.in_features
        return ConvolutionCache(
            inputs=[torch.empty(batch, 0, channels, device=device, dtype=dtype) for _ in range(order)],
            memories=[None] * order,
            pasts={
                name: torch.zeros(batch, *cast(CausalConvolution, convolution).shape, device=device, dtype=dtype)
                for name, convolution in self.convolutions.items()
            },
        )

    def record(self, x: Float[Tensor, "B T D"]) -> Convolution:
        """What the engine runs first for x, but for a short convolution and an input gate."""
        value = activate(self.mixer.activation, self.projections[VALUE](x))
        causal = self.mixer.direction == "forward"
        return Convolution(input=value[:, :, None], response=self._response(0, x.shape[1])[None], causal=causal)

    def forward(
        self, x: Float[Tensor, "B T D"], *, reset: Bool[Tensor, "B T"] | None = None, cache: AbstractCache | None = None
    ) -> Float[Tensor, "B T D"]:
        """Mix x; with a cache, continue what earlier calls saw and move the cache on."""
        if cache is not None and not isinstance(cache, ConvolutionCache):
            raise TypeError(f"a long convolution takes the cache of its own cache(), got {type(cache).__name__}")
        if cache is not None and self.mixer.direction != "forward":
            raise CompositionError(f"direction={self.mixer.direction} sees what comes later, and cannot decode")
        if reset is not None:
            raise CompositionError(
                "a long convolution has no memory to reset, so a row holds neither several documents nor padding: take "
                "a mixer of another kind, or text as one piece (task.documents=false)"
            )
        if cache is not None:
            self._count(cache, x.shape[1])
        seen = {name: self._projected(name, x, cache) for name in self.projections}
        z = seen[VALUE]
        for n in range(self.mixer.order):
            z = z * seen[f"{GATE}_{n}"] if self.mixer.input_gate else z
            y = self._convolved(n, z, cache)
            z = y + self.skips[n] * z if self.mixer.skip else y
        # under autocast z comes in bfloat16, the norm's weights in float32
        output: Tensor = self.output(self.norm((z * seen[GATE]).to(self.output.weight.dtype)))
        return output

    def _projected(self, name: str, x: Tensor, cache: ConvolutionCache | None) -> Tensor:
        z: Tensor = self.projections[name](x)
        if name in self.convolutions:
            z, past = self.convolutions[name](z, reset=None, past=None if cache is None else cache.pasts[name])
            if cache is not None:
                cache.pasts[name] = past
        return activate(self.mixer.activation, z)

    def _count(self, cache: ConvolutionCache, length: int) -> None:
        lags = self.mixer.lags
        if self.mixer.decoding == "recurrence" and lags is not None and cache.seen + length > lags:
            raise RunError(
                f"decoding=recurrence is exact for lags = {lags} tokens, and these are {cache.seen + length}; take "
                "decoding=window, or more lags"
            )
        cache.seen += length

    def _response(self, n: int, length: int) -> Tensor:
        """h [V,length], or [V,2 length − 1] from the most negative lag where all are seen; zero after the last lag."""
        stage = cast(AbstractResponse, self.responses[n])
        reach = min(length, self.mixer.lags or length) - 1
        both = self.mixer.direction == "all"
        lags = torch.arange(-reach if both else 0, reach + 1, device=self.output.weight.device, dtype=torch.float64)
        response: Tensor = stage(lags)
        decay = stage.log_decay()
        if decay is not None:
            response = response * torch.exp(decay[:, None] * lags.abs().to(decay.dtype))
        beyond = length - 1 - reach
        return nn.functional.pad(response, (beyond if both else 0, beyond))

    def _convolved(self, n: int, z: Tensor, cache: ConvolutionCache | None) -> Tensor:
        length, group = z.shape[1], current()
        if cache is None and group is not None:
            causal = self.mixer.direction == "forward"
            seen = torch.cat([before(z, group, axis=1), z], 1) if causal else whole(z, group, axis=1)
            y = self._scan(seen, self._response(n, seen.shape[1]))
            return y.narrow(1, group.rank * length, length)
        if cache is None:
            return self._scan(z, self._response(n, length))
        if self.mixer.decoding == "recurrence":
            return self._stepped(n, z, cache)
        seen = torch.cat([cache.inputs[n].to(z.dtype), z], 1)
        total = seen.shape[1]
        if len(cache.responses) <= n:
            cache.responses.append(self._response(n, total))
        if cache.responses[n].shape[1] < total:  # twice as many as needed, so that few tokens ask for more
            cache.responses[n] = self._response(n, min(2 * total, max(self.mixer.lags or 2 * total, total)))
        response = cache.responses[n][:, :total]
        kept = total if self.mixer.lags is None else min(total, self.mixer.lags - 1)
        cache.inputs[n] = seen[:, total - kept :].clone()
        if length == 1:
            return (response.flip(1).mT * seen).sum(1, keepdim=True).to(z.dtype)
        return self._scan(seen, response)[:, total - length :]

    def _scan(self, z: Tensor, response: Tensor) -> Tensor:
        causal = self.mixer.direction == "forward"
        return engine.scan(Convolution(input=z[:, :, None], response=response[None], causal=causal))[0][:, :, 0]

    def _stepped(self, n: int, z: Tensor, cache: ConvolutionCache) -> Tensor:
        if len(cache.modes) <= n:
            cache.modes.append(self._recurrence(n))
        record = replace(cache.modes[n], input=z[..., None], memory=cache.memories[n])
        y, cache.memories[n] = engine.step(record) if z.shape[1] == 1 else engine.scan(record)
        return cast(Tensor, y)[..., 0].to(z.dtype)

    def _recurrence(self, n: int) -> Recurrence:
        """The response at lags below N as a state space of N complex modes: every channel is a head of V = 1.

        With t_N = −Σ_j t_j the transform β of t_0 … t_N has β_0 = 0; t_j = Σ_m β_m exp(−2πi mj / (N + 1)).

        Source: arXiv:2311.08756.
        """
        stage, lags = cast(AbstractResponse, self.responses[n]), self.mixer.lags
        assert lags is not None
        t: Tensor = stage(torch.arange(lags, device=self.output.weight.device, dtype=torch.float64))
        beta = torch.fft.ifft(torch.cat([t, -t.sum(1, keepdim=True)], 1))[:, 1:]
        angles = -2 * math.pi / (lags + 1) * torch.arange(1, lags + 1, device=t.device, dtype=t.dtype)
        decay = stage.log_decay()
        read = torch.cat([torch.ones_like(t[:1]), torch.zeros_like(t[:1])], 1)
        return Recurrence(
            input=None,
            expand=torch.cat([beta.real, beta.imag], 1)[None, None],
            shrink=read[None, None],
            transition=Transition(head=None if decay is None else decay[None, None], phase=angles[None, None, None]),
        )
