"""Models made of blocks of mixers, from a recipe: causal and masked language models, encoders and classifiers."""

from eos.models.autoencoder import AutoEncoder
from eos.models.encoder import Classifier, Encoder
from eos.models.encoder_decoder import DecoderCache, EncoderDecoder
from eos.models.generate import generate, stream
from eos.models.language_model import Cache, LanguageModel
from eos.models.masked_model import MaskedModel
from eos.models.pair_classifier import PairClassifier
from eos.models.translate import translate
from eos.models.weights import load_weights, save_weights, tensors_of

__all__ = [
    "AutoEncoder",
    "Cache",
    "Classifier",
    "DecoderCache",
    "Encoder",
    "EncoderDecoder",
    "LanguageModel",
    "MaskedModel",
    "PairClassifier",
    "generate",
    "load_weights",
    "save_weights",
    "stream",
    "tensors_of",
    "translate",
]
