"""From recipes to models: reads YAML as data, applies overrides, checks everything, then builds.

Names are imported on first use: what only reads recipes does not wait for what checks them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eos.compose.model import build, load_model_recipe, refuse

__all__ = ["build", "load_model_recipe", "refuse"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'eos.compose' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module("eos.compose.model"), name)
