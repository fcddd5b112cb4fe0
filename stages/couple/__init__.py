"""Joint stages that see input, expand and shrink states together, after the three."""
