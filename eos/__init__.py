"""The EOS playground: linear-complexity sequence models composed of Expand, Oscillation and Shrink stages.

Names are imported on first use, so that ``import eos`` costs nothing.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "EOSError": "eos.errors",
    "Transition": "eos.record",
    "Recurrence": "eos.record",
    "Convolution": "eos.record",
    "Memory": "eos.record",
    "scan": "eos.engine",
    "step": "eos.engine",
    "plan": "eos.engine",
    "EOSLayer": "eos.layer",
    "EOSMixer": "eos.config",
    "build": "eos.compose",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'eos' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
