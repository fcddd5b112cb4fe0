"""The Triton backend: one family of kernels for every recurrence, and what launches them."""
