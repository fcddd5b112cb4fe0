"""Causal language models: blocks of mixers, from a recipe."""

from eos.models.generate import generate, stream
from eos.models.language_model import Cache, LanguageModel
from eos.models.weights import load_weights, save_weights

__all__ = ["Cache", "LanguageModel", "generate", "load_weights", "save_weights", "stream"]
