"""One network of a space: what stands in each of its layers."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A block.

    Arguments:
        mixer: its name in the space.
        heads: H; None where the mixer has its own.
        key_size: K; None likewise, and for mixers without one.
        ratio: hidden width / width of the channel mixer, ≥ 0; 0: there is none.
    """

    mixer: str
    heads: int | None
    key_size: int | None
    ratio: float


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A network.

    Arguments:
        width: D.
        layers: its blocks; of a network with an encoder those of the decoder.
        encoder: the blocks of the encoder beside a decoder, or None.
    """

    width: int
    layers: tuple[Layer, ...]
    encoder: tuple[Layer, ...] | None = None

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Architecture":
        """The inverse of :meth:`to_plain`."""
        encoder = plain.get("encoder")
        return cls(
            width=plain["width"],
            layers=tuple(Layer(**layer) for layer in plain["layers"]),
            encoder=None if encoder is None else tuple(Layer(**layer) for layer in encoder),
        )

    def __str__(self) -> str:
        parts = [f"width {self.width}", *([] if self.encoder is None else [_row(self.encoder), "→"]), _row(self.layers)]
        return " ".join(parts)


def _row(layers: tuple[Layer, ...]) -> str:
    return " | ".join(_text(layer) for layer in layers)


def _text(layer: Layer) -> str:
    sizes = [f"H{layer.heads}" if layer.heads else "", f"K{layer.key_size}" if layer.key_size else ""]
    return " ".join(part for part in (layer.mixer, *sizes, f"×{layer.ratio:g}" if layer.ratio else "") if part)
