"""Which recipes a run is made of: Hydra's defaults, experiments and choices, over recipes read as data.

Hydra picks the recipe of each group and reads every file through :class:`RecipeSource`, so nothing reaches it that
:mod:`eos.compose.reader` refuses. Keys inside recipes are changed by :mod:`eos.compose.override`, whose grammar knows
stages.
"""

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

from eos import registry
from eos.compose.check import check
from eos.compose.override import changed_model, merge
from eos.compose.reader import read_recipe
from eos.compose.run import PARTS, RunRecipe, check_run
from eos.errors import RecipeError, unknown
from eos.training.config import TrainingOptions
from eos.training.sweep import Ablation

_GROUPS = (*PARTS, "experiment")
_VARIED = ("vary", "seeds", "by")
_DEFAULTS = Path(__file__).parent / "defaults"


def load_run_recipe(overrides: Sequence[str]) -> RunRecipe[TrainingOptions]:
    """The run that a command line describes: ``model=… task=… training=… experiment=…``, then changes of their keys.

    Raises:
        RecipeError: an unknown name or key, or a value that is not allowed.
    """
    choices, changes = _split(overrides)
    data, names = _choose(choices)
    sources = {part: str(registry.recipe(part, names[part])) for part in PARTS}
    if "experiment" in names:
        for part in PARTS & data["changes"].keys():
            change = changed_model if part == "model" else merge
            data[part] = change(data[part], data["changes"][part])
            sources[part] += f" with experiment={names['experiment']}"
    return check_run(data, changes, training=TrainingOptions, names=names, sources=sources)


def load_ablation(name: str) -> Ablation:
    """What of an experiment varies.

    Raises:
        RecipeError: an unknown name, or values that are none.
    """
    path = registry.recipe("experiment", name)
    return _ablation(read_recipe(path), path)


def _ablation(data: dict[str, Any], path: Path) -> Ablation:
    return check(Ablation, {key: data[key] for key in _VARIED if key in data}, source=str(path))


def _split(overrides: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    choices: dict[str, str] = {}
    changes: list[str] = []
    for override in overrides:
        group, _, name = override.partition("=")
        if group not in _GROUPS or not name:
            changes.append(override)
        elif group in choices:
            raise RecipeError(f"{group} is chosen twice: {choices[group]} and {name}")
        else:
            registry.recipe(group, name)
            choices[group] = name
    return choices, changes


def _choose(choices: dict[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The data of the chosen recipes, and the names of all."""
    data, names = _composed(tuple(choices.items()), tuple(registry.plugin_folders()))
    return deepcopy(data), dict(names)


@lru_cache
def _composed(choices: tuple[tuple[str, str], ...], folders: tuple[Path, ...]) -> tuple[dict[str, Any], dict[str, str]]:
    """The same; a grid asks again and again for the same choices among the same folders."""
    Plugins.instance().register(RecipeSource)
    with initialize_config_dir(str(_DEFAULTS), job_name="eos", version_base="1.3"):
        overrides = [f"{group}={name}" for group, name in choices]
        chosen = compose("run", overrides, return_hydra_config=True)
    found = chosen.hydra.runtime.choices
    names = {group: found[group] for group in _GROUPS if found[group]}
    data = {key: OmegaConf.to_container(chosen[key]) for key in (*PARTS, "changes") if key in chosen}
    return data, names


class RecipeSource(ConfigSource):
    """Gives Hydra the registered recipes, plugins' included, each checked to be data."""

    @staticmethod
    def scheme() -> str:
        return "recipes"

    def available(self) -> bool:
        return True

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", *_GROUPS)

    def is_config(self, config_path: str) -> bool:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        return group in _GROUPS and name in registry.recipes(group)

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if not config_path:
            return [*_GROUPS] if results_filter != ObjectType.CONFIG else []
        return [*registry.recipes(config_path)] if results_filter != ObjectType.GROUP else []

    def load_config(self, config_path: str) -> ConfigResult:
        group, _, name = config_path.removesuffix(".yaml").partition("/")
        path = registry.recipe(group, name)
        data = read_recipe(path)
        if group == "experiment":
            data = _experiment(data, path)
        elif "defaults" in data:
            raise RecipeError(f"{path}: only an experiment has defaults; a {group} recipe is whole by itself")
        header: dict[str, str | None] = {"package": "_global_" if group == "experiment" else group}
        return ConfigResult(provider=self.provider, path=str(path), config=OmegaConf.create(data), header=header)


def _experiment(data: dict[str, Any], path: Path) -> dict[str, Any]:
    """An experiment as Hydra takes it: the recipes that it chooses, and apart from them what it changes in each.

    The changes are merged later, by the rule that a stage of a new name drops the old one's options. What varies is
    checked and left out: it is no part of a run.
    """
    known = (*PARTS, "defaults", *_VARIED)
    for key in data:
        if key not in known:
            raise RecipeError(f"{path}: {unknown('key', key, known)}")
    _ablation(data, path)
    overrides = data.get("defaults") or []
    right = [{f"override /{part}": name} for part in PARTS for name in registry.recipes(part)]
    for override in overrides if isinstance(overrides, list) else [overrides]:
        if override not in right:
            raise RecipeError(
                f"{path}: {override!r} is not a default of an experiment; each reads override /PART: NAME, "
                f"with a PART of {', '.join(PARTS)} and the NAME of a recipe"
            )
    changes = {part: data[part] for part in PARTS if part in data}
    return {"defaults": overrides, "changes": changes}
