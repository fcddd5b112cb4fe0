"""The projection that ends a residual branch."""

from torch import nn


def output_projection(inputs: int, outputs: int, *, layers: int, bias: bool) -> nn.Linear:
    """A linear map that starts 1/√(2L) as large as torch's own, so that the sum of 2L branches keeps its variance.

    Source: GPT-2's residual scaling (Radford et al., 2019, section 2.3).
    """
    linear = nn.Linear(inputs, outputs, bias=bias)
    bound = (2 * layers * inputs) ** -0.5
    nn.init.uniform_(linear.weight, -bound, bound)
    return linear
