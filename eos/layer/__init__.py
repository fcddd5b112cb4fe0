"""The EOS layer: a token mixer composed of stages, run by the engine."""

from eos.layer.composition import Design
from eos.layer.layer import EOSLayer
from eos.layer.long_convolution import LongConvolution
from eos.layer.mixer import AbstractCache, AbstractMixer
from eos.layer.refuse import refuse

__all__ = ["AbstractCache", "AbstractMixer", "Design", "EOSLayer", "LongConvolution", "refuse"]
