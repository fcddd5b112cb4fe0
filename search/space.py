"""The space of a search: which candidates there are, and the recipe that each stands for.

A candidate is composed choice by choice, the stages first, then their options, then what varies beside them. What has
not been chosen yet stands at its default, and every choice is taken only where the candidate can still be built: so
none is ever proposed that :func:`eos.compose.refuse` would refuse.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from eos.compose import refuse
from eos.compose.model import flat, load_model_recipe
from eos.compose.reader import value_text
from eos.compose.run import PARTS, RunRecipe, check_run
from eos.config import EOSMixer, ModelRecipe
from eos.errors import EOSError, RecipeError
from eos.tasks.task import AbstractTask
from eos.training.config import TrainingOptions
from search.alternatives import KINDS, Alternative, Dimension, alternatives, same_as, stages_in, varied
from search.chooser import AbstractChooser, Chosen, every
from search.match import matched
from search.reach import check_reach
from search.recipe import Range, SearchRecipe

Recipe = RunRecipe[TrainingOptions]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One point of the space.

    Arguments:
        params: its parameters, which :meth:`Space.candidate` makes it of again.
        shown: its stages, and what of its options is not as declared.
        recipe: what is trained, brought to the budget.
    """

    params: dict[str, Any]
    shown: str
    recipe: Recipe


@dataclass(frozen=True, kw_only=True)
class _Slot:
    """A mixer whose stages are chosen, and what its parameters are called by."""

    mixer: str
    prefix: str


class Space:
    """All candidates of a search.

    Arguments:
        search: what is searched.
        base: the run that candidates differ from.
        task: of the base.

    Raises:
        RecipeError: the space is empty, names something unknown, or no candidate can be built.
    """

    def __init__(self, search: SearchRecipe, base: Recipe, *, task: AbstractTask) -> None:
        self.search = search
        self.base = base
        self.task = task
        self._model = flat(base.model)
        self._layers: list[str] = []
        if search.each_layer:
            self._spread()
        self._kinds: dict[str, list[Alternative]] = {}
        for kind in KINDS:
            if (said := getattr(search, kind)) != "fixed":
                self._kinds[kind] = alternatives(kind, said)
        self._slots = self._find_slots()
        self._reasons: dict[str, str | None] = {}
        self._vary = [self._varied(key, values) for key, values in search.vary.items()]
        self._defaults = {
            f"{slot.prefix}{dimension.name}": dimension.default
            for slot in self._slots
            for kind, choices in self._kinds.items()
            for each in choices
            for _, _, dimension in varied(kind, each, which=search.options)
        }
        if not self.dimensions:
            raise RecipeError("the space is empty: nothing varies; name stages, options or keys in vary")
        if search.match is not None and self._kinds:
            free = Space(replace(search, match=None), base, task=task)
            labels = {kind: [each.label for each in choices] for kind, choices in self._kinds.items()}
            check_reach(labels, free._with_stages, search.match, task=task)
        candidate = self.candidate({})
        self.default = candidate.params

    def _with_stages(self, labels: Mapping[str, str]) -> tuple[str, ModelRecipe]:
        """The model with these stages in every mixer, others by default; and the names of those that vary."""
        chosen = {f"{slot.prefix}{kind}": label for slot in self._slots for kind, label in labels.items()}
        candidate = self.compose(Chosen(chosen))
        first = {kind: candidate.params.get(f"{self._slots[0].prefix}{kind}") for kind in self._kinds}
        told = (f"{kind}={label}" for kind, label in first.items() if label is not None)
        return " ".join(told) or "the only one", candidate.recipe.model

    def _spread(self) -> None:
        """Give every layer a mixer of its own, as the layout has them."""
        from eos.models.layout import resolve_layout

        placed = resolve_layout(self.base.model)
        known = self._model["mixers"]
        for name in self.search.mixers or ():
            if name not in known:
                raise RecipeError(f"search.mixers names {name}, which the model has not; it has {', '.join(known)}")
        self._layers = [f"layer{number}" for number in range(len(placed))]
        self._kept = dict(known)
        self._model["mixers"] = {layer: deepcopy(known[name]) for layer, name in zip(self._layers, placed, strict=True)}
        if (once := self._model["positions"]) is not None:
            self._model["mixers"][once] = known[once]
        self._model["layout"] = list(self._layers)

    def _find_slots(self) -> list[_Slot]:
        if not self._kinds:
            return []
        mixers = self._model["mixers"]
        found = [name for name, mixer in mixers.items() if mixer.get("kind", "eos") == "eos"]
        if not found and not self.search.mixers:
            raise RecipeError(f"{self.base.names.get('model', 'the model')} has no mixer made of stages to search over")
        prefixed = len(mixers) > 1 or bool(self._layers)
        return [_Slot(mixer=name, prefix=f"{name}." if prefixed else "") for name in self._layers or found]

    def _varied(self, key: str, said: list[Any] | Range) -> Dimension:
        """A key of model or training; what the base says stands at first, where that is among its values."""
        if isinstance(said, list):
            if not said:
                raise RecipeError(f"search.vary.{key} is an empty list: give its values")
            own = self._own(key)
            default = next((value for value in said if value == own and type(value) is type(own)), said[0])
            return Dimension(name=key, distribution=CategoricalDistribution(said), default=default)
        span: IntDistribution | FloatDistribution
        if said.whole:
            span = IntDistribution(round(said.low), round(said.high), log=said.log, step=round(said.step or 1))
        else:
            span = FloatDistribution(said.low, said.high, log=said.log, step=said.step)
        own = self._own(key)
        inside = isinstance(own, int | float) and not isinstance(own, bool) and span._contains(own)
        return Dimension(name=key, distribution=span, default=own if inside else span.low)

    def _own(self, key: str) -> Any:
        """What the base says of a key; None where it stands somewhere else than in training or at the model's top."""
        name = key.rpartition(".")[2]
        return flat(self.base.training).get(name, self._model.get(name))

    @property
    def dimensions(self) -> dict[str, BaseDistribution]:
        """Every parameter that a candidate may have, by name."""
        found: dict[str, BaseDistribution] = {}
        for slot in self._slots:
            if self._layers and self.search.mixers:
                found[f"{slot.prefix}mixer"] = CategoricalDistribution(self.search.mixers)
            for kind, choices in self._kinds.items():
                if len(choices) > 1:
                    found[f"{slot.prefix}{kind}"] = CategoricalDistribution([each.label for each in choices])
                for each in choices:
                    for _, _, dimension in varied(kind, each, which=self.search.options):
                        found[f"{slot.prefix}{dimension.name}"] = dimension.distribution
        return found | {dimension.name: dimension.distribution for dimension in self._vary}

    @property
    def description(self) -> dict[str, str]:
        """Every parameter with its distribution, as JSON has it."""
        return {name: distribution_to_json(each) for name, each in sorted(self.dimensions.items())}

    def candidate(self, params: Mapping[str, Any]) -> Candidate:
        """The candidate of known parameters; what they do not say stands at its default.

        Raises:
            RecipeError: a value that is not of the space, a name that is not asked for, or no candidate.
        """
        chosen = Chosen(params)
        candidate = self.compose(chosen)
        if idle := sorted(params.keys() - chosen.used):
            raise RecipeError(f"{', '.join(idle)}: not a parameter of this candidate")
        return candidate

    def every(self) -> Iterator[Candidate]:
        """All candidates, one after the other.

        Raises:
            RecipeError: a parameter has a continuous range.
        """
        return every(self.compose)

    def refuses(self, stages: Mapping[str, str]) -> str | None:
        """Why no candidate has these stages, with options as they are by default; None where some has.

        Arguments:
            stages: labels by parameter, all of one mixer: ``{"expand": "elu", "shrink": "linear"}``.
        """
        prefix = next(iter(stages)).rpartition(".")[0]
        slot = next(each for each in self._slots if each.prefix.removesuffix(".") == prefix)
        combinations: list[list[Alternative]] = [[]]
        for kind, choices in self._kinds.items():
            wanted = stages.get(f"{slot.prefix}{kind}")
            open_ = [each for each in choices if wanted in (None, each.label)]
            combinations = [[*taken, each] for taken in combinations for each in open_]
        reason = "no such stages"
        for taken in combinations:
            why = self._why(self._model, slot.mixer, taken)
            if why is None:
                return None
            reason = why
        return reason

    def never(self) -> dict[str, str]:
        """Of the stages that were named, those that no candidate has, with the reason."""
        found = {}
        for kind, choices in self._kinds.items():
            if isinstance(getattr(self.search, kind), list):
                for each in choices:
                    reason = self.refuses({f"{self._slots[0].prefix}{kind}": each.label})
                    if reason is not None:
                        found[f"{kind}={each.label}"] = reason
        return found

    def known(self, name: str) -> Candidate:
        """The candidate with the stages and options of a model recipe.

        Raises:
            RecipeError: its stages are not in the space, or cannot stand in this model.
        """
        mixers = [mixer for mixer in load_model_recipe(name).mixers.values() if isinstance(mixer, EOSMixer)]
        if not mixers:
            raise RecipeError(f"{name} is not made of stages")
        values: dict[str, Any] = {}
        for slot in self._slots:
            for kind, choices in self._kinds.items():
                stages = stages_in(flat(mixers[0])[kind])
                same = same_as(choices, stages)
                if same is None:
                    names = "+".join(stage["name"] for stage in stages) or "none"
                    raise RecipeError(f"{kind}={names} is not in the space")
                if len(choices) > 1:
                    values[f"{slot.prefix}{kind}"] = same.label
                for place, option, dimension in varied(kind, same, which=self.search.options):
                    values[f"{slot.prefix}{dimension.name}"] = stages[place][option]
        return self.candidate(values)

    def compose(self, chooser: AbstractChooser) -> Candidate:
        """Let ``chooser`` decide a candidate.

        Raises:
            RecipeError: no candidate can be built.
        """
        model = deepcopy(self._model)
        params: dict[str, Any] = {}
        for slot in self._slots:
            if self._layers and self.search.mixers and not self._place(slot, model, chooser, params):
                continue
            self._choose_stages(slot, model, chooser, params)
        overrides: list[str] = []
        for dimension in self._vary:

            def accept(value: Any, key: str = dimension.name) -> bool:
                return self._refused(model, [*overrides, f"{key}={value_text(value)}"]) is None

            default = dimension.default
            if not accept(default):
                default = next(filter(accept, getattr(dimension.distribution, "choices", ())), default)
            params[dimension.name] = value = chooser.choose(dimension.name, dimension.distribution, default, accept)
            overrides.append(f"{dimension.name}={value_text(value)}")
        if reason := self._refused(model, overrides):
            raise RecipeError(reason)
        return Candidate(params=params, shown=self._shown(params), recipe=self._recipe(model, overrides))

    def _shown(self, params: Mapping[str, Any]) -> str:
        parts = []
        for name, value in params.items():
            if name not in self._defaults or self._defaults[name] != value:
                parts.append(f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}")
        return " ".join(parts)

    def _place(self, slot: _Slot, model: dict[str, Any], chooser: AbstractChooser, params: dict[str, Any]) -> bool:
        """Choose which of the named mixers stands in a layer; whether it has stages to choose."""
        named, name = self.search.mixers or [], f"{slot.prefix}mixer"
        default = next((each for each in named if self._kept[each] == self._model["mixers"][slot.mixer]), named[0])
        chosen = chooser.choose(name, CategoricalDistribution(named), default, lambda value: True)
        params[name] = chosen
        model["mixers"][slot.mixer] = deepcopy(self._kept[chosen])
        return bool(model["mixers"][slot.mixer].get("kind", "eos") == "eos")

    def _choose_stages(
        self, slot: _Slot, model: dict[str, Any], chooser: AbstractChooser, params: dict[str, Any]
    ) -> None:
        mixer = model["mixers"][slot.mixer]
        own = {kind: same_as(choices, stages_in(mixer[kind])) for kind, choices in self._kinds.items()}
        taken: list[Alternative] = []
        rest = list(self._kinds.items())
        while rest:
            (kind, choices), *rest = rest
            by_label = {each.label: each for each in choices}

            def accept(label: str, by_label: dict[str, Alternative] = by_label) -> bool:
                return self._completes(model, slot.mixer, [*taken, by_label[label]])

            first = own[kind]
            ordered = [first.label, *by_label] if first is not None else list(by_label)
            default = next(filter(accept, ordered), None)
            if default is None:
                raise RecipeError(f"the space is empty: {self._why(model, slot.mixer, [*taken, choices[0]])}")
            label = default
            if len(choices) > 1:
                name = f"{slot.prefix}{kind}"
                distribution = CategoricalDistribution(list(by_label))
                params[name] = label = chooser.choose(name, distribution, default, accept)
            taken.append(by_label[label])
        self._put(mixer, taken)
        for kind, alternative in zip(self._kinds, taken, strict=True):
            stages = stages_in(mixer[kind])
            for place, option, dimension in varied(kind, alternative, which=self.search.options):
                stage, name = stages[place], f"{slot.prefix}{dimension.name}"

                def builds(value: Any, stage: dict[str, Any] = stage, option: str = option) -> bool:
                    before = dict(stage)
                    stage[option] = value
                    reason = self._refused(model, [])
                    stage.clear()
                    stage.update(before)
                    return reason is None

                params[name] = chooser.choose(name, dimension.distribution, dimension.default, builds)
                stage[option] = params[name]

    def _completes(self, model: dict[str, Any], mixer: str, taken: Sequence[Alternative]) -> bool:
        """Whether stages for the first kinds leave some for the others with which the candidate can be built."""
        if len(taken) == len(self._kinds):
            return self._why(model, mixer, taken) is None
        following = list(self._kinds.values())[len(taken)]
        return any(self._completes(model, mixer, [*taken, each]) for each in following)

    def _why(self, model: dict[str, Any], mixer: str, taken: Sequence[Alternative]) -> str | None:
        changed = {**model, "mixers": {**model["mixers"], mixer: deepcopy(model["mixers"][mixer])}}
        self._put(changed["mixers"][mixer], taken)
        return self._refused(changed, [])

    def _put(self, mixer: dict[str, Any], taken: Sequence[Alternative]) -> None:
        for kind, alternative in zip(self._kinds, taken, strict=False):
            stages: list[dict[str, Any]] = [{"name": name, **options} for name, options in alternative.stages]
            mixer[kind] = stages if kind == "oscillation" else next(iter(stages), None)

    def _refused(self, model: dict[str, Any], overrides: Sequence[str]) -> str | None:
        """Why no candidate can be built of this, or None."""
        key = json.dumps([model, *overrides], sort_keys=True)
        if key not in self._reasons:
            try:
                recipe = self._recipe(model, overrides)
                self._reasons[key] = refuse(recipe.model, causal=self.task.causal)
            except EOSError as error:
                self._reasons[key] = str(error)
            except (RuntimeError, TypeError, ValueError) as error:
                # A stage that breaks where it should refuse is no candidate either.
                self._reasons[key] = f"{type(error).__name__}: {error}"
        return self._reasons[key]

    def _recipe(self, model: dict[str, Any], overrides: Sequence[str]) -> Recipe:
        data = {
            "model": model,
            "task": {"name": self.base.task.name, **flat(self.base.task.options)},
            "training": flat(self.base.training),
        }
        recipe = check_run(
            data,
            overrides,
            training=TrainingOptions,
            names=self.base.names,
            sources=dict.fromkeys(PARTS, "the candidate"),
        )
        if self.search.match is None:
            return recipe
        return replace(recipe, model=matched(recipe.model, self.search.match, task=self.task).recipe)


def version_of(description: Mapping[str, str]) -> str:
    """Of a space: another one whenever a parameter comes, goes or has other values."""
    return hashlib.sha256(json.dumps(dict(description), sort_keys=True).encode()).hexdigest()[:12]
