"""Models made of blocks of mixers, from a recipe: causal language models, encoders and classifiers."""

from eos.models.encoder import Classifier, Encoder
from eos.models.encoder_decoder import DecoderCache, EncoderDecoder
from eos.models.generate import generate, stream
from eos.models.language_model import Cache, LanguageModel
from eos.models.weights import load_weights, save_weights

__all__ = [
    "Cache",
    "Classifier",
    "DecoderCache",
    "Encoder",
    "EncoderDecoder",
    "LanguageModel",
    "generate",
    "load_weights",
    "save_weights",
    "stream",
]
