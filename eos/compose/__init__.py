"""From recipes to models: reads YAML as data, applies overrides, checks everything, then builds."""

from eos.compose.model import build, load_model_recipe, refuse

__all__ = ["build", "load_model_recipe", "refuse"]
