"""Parallel text: sentences of two languages, read in pairs, turned into tokens, and written by a model."""
