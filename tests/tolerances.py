"""How far results may lie apart, max |got − want| / max |want|, by dtype of the computation; each with its reason."""

import torch

#: The same sums in another order. Float64 rounds at 1.1e-16; some hundred steps, ten terms each, and gradients that
#: cancel by a factor of some thousand stay three digits below this.
EXACT = 1e-9

#: The engine's own promise for T = 2048 and every mixture of decays: sixteen times float32's rounding of 1.2e-7.
#: Products of decays come from float64 sums, or by doubling, whose rounding grows with log₂ of the chunk.
FLOAT32 = 2e-6

#: A memory that is rounded at each of 2048 steps and forgets none of them: a random walk of √2048 · 3e-8 = 1.4e-6,
#: whose largest among some hundred entries lies three standard deviations out.
FLOAT32_STEPS = 5e-6

#: A few steps of float32 whose decays are weak: twice float32's rounding for every doubling of 2^8 steps.
FLOAT32_SHORT = 1e-5

#: bfloat16 activations keep 8 bits: every y and gradient is rounded once, 2^-9 = 2e-3 relative to its own size, and
#: sums of gradients over a shared axis add some of them.
BFLOAT16 = 1e-2

#: What a record promises for T steps, by dtype of its activations.
BY_DTYPE = {torch.float64: EXACT, torch.float32: FLOAT32, torch.bfloat16: BFLOAT16}
