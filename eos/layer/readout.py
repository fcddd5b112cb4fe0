"""From the engine's y to the layer's output: norm, gate and projection."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from eos.config import Output, OutputGate
from eos.layer.norm import RMSNormInParts, make_norm
from eos.layer.projection import output_projection
from eos.stage import activate


class Gate(nn.Module):
    """y ∘ φ(W x), W of full rank or through a bottleneck."""

    def __init__(self, options: OutputGate, width: int, channels: int) -> None:
        super().__init__()
        self.activation = options.activation
        if options.rank is None:
            self.projection: nn.Module = nn.Linear(width, channels, bias=False)
        else:
            down = nn.Linear(width, options.rank, bias=False)
            self.projection = nn.Sequential(down, nn.Linear(options.rank, channels, bias=False))
        self.inner = options.inner

    def forward(self, y: Float[Tensor, "B T H V"], x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T H V"]:
        """Gate y by x."""
        if isinstance(self.projection, nn.Sequential):
            down, up = self.projection
            z = up(activate(self.inner, down(x)))
        else:
            z = self.projection(x)
        return y * activate(self.activation, z).view_as(y)


class Readout(nn.Module):
    """W_o φ(C y), y normalised head by head or as a whole, and gated by a projection of the layer's input.

    C is there with mix alone; with glu, W_o φ(C y) = [a, b] and the output is a ∘ sigmoid(b).
    """

    def __init__(self, options: Output, *, width: int, heads: int, values: int, layers: int, bias: bool) -> None:
        super().__init__()
        channels = heads * values
        self.per_head = options.per_head
        self.before_norm = options.before_norm
        if options.norm_parts > 1:
            self.norm: nn.Module = RMSNormInParts(channels, options.norm_parts, options.norm_eps)
        else:
            self.norm = make_norm(options.norm, values if options.per_head else channels, options.norm_eps)
        self.gate = None if options.gate is None else Gate(options.gate, width, channels)
        self.gate_first = options.gate is not None and options.gate.position == "before_norm"
        self.mix = nn.Linear(channels, width, bias=bias) if options.mix else None
        channels = width if options.mix else channels
        self.activation = options.activation
        self.glu = options.glu
        self.output = output_projection(channels, 2 * width if options.glu else width, layers=layers, bias=bias)

    def forward(
        self, y: Float[Tensor, "B T H V"], x: Float[Tensor, "B T D"], *, skipped: Float[Tensor, "B T D"] | None = None
    ) -> Float[Tensor, "B T D"]:
        """The layer's output; x gates y, and what skips the memory joins after the mix."""
        if self.gate is not None and self.gate_first:
            y = self.gate(y, x)
        y = activate(self.before_norm, y)
        y = self.norm(y if self.per_head else y.flatten(2)).view_as(y)
        if self.gate is not None and not self.gate_first:
            y = self.gate(y, x)
        z = y.flatten(2) if self.mix is None else self.mix(y.flatten(2))
        z = z if skipped is None else z + skipped
        output: Tensor = self.output(activate(self.activation, z))
        return functional.glu(output) if self.glu else output
