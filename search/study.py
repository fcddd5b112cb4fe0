"""A study: a search as it stands in its storage, which any process can join that knows the URL and the name."""

import shlex
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import DuplicatedStudyError, ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import RandomSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from eos import registry
from eos.compose.check import check
from eos.compose.model import flat
from eos.compose.run import PARTS, check_run
from eos.errors import RecipeError
from eos.training.config import TrainingOptions
from search.recipe import SearchRecipe
from search.space import Recipe, Space
from search.storage import StudyError, open_storage, without_password

#: Of what a study says of itself; a study with a later one is refused.
FORMAT = 2
#: User attributes of a study, and of a trial.
RECORD, SPACE_OF, TRIALS, WORKER = "eos", "eos:space:", "eos:trials", "eos:worker:"
REASON, RUNS, LOST, RETRY_OF, SECONDS, ORIGIN = "reason", "runs", "lost", "retry_of", "seconds", "from"
CHOICES = "choices"
#: How many parameters of a space stand in one attribute: MySQL's holds 65,535 bytes, a parameter takes about 150.
PIECE = 100
#: Keys of a search that say how it goes on, and those that the space says already.
FREE = {"keep", "first"}
SPACE = {"expand", "oscillation", "shrink", "couple", "options", "vary"}
#: How lines begin of what may differ between a study and one whose trials it takes over.
HOW = ("space:", "search.sampler:", "search.startup:", "search.pruner:", "search.reduction:", "search.seed:")
DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The metric that is sought.

    Arguments:
        metric: its name.
        higher: whether more of it is better.
    """

    metric: str
    higher: bool


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What a study says of itself.

    Arguments:
        search: what is searched.
        base: the run that candidates differ from.
        space: every parameter with its distribution.
        quality: what is sought.
        folder: where the runs of its trials go.
        plugins: the plugin folders that it was begun with.
        format: of this record.
    """

    search: SearchRecipe
    base: Recipe
    space: dict[str, str]
    quality: Quality
    folder: str
    plugins: list[str] = field(default_factory=list)
    format: int = FORMAT

    @property
    def objectives(self) -> list[str]:
        """The names of what is sought, the metric's own for quality."""
        return [self.quality.metric if each == "quality" else each for each in self.search.objectives]

    def attributes(self) -> dict[str, Any]:
        """As attributes of a study, the record itself last: who finds that finds all."""
        space = list(self.space.items())
        pieces = (dict(space[start : start + PIECE]) for start in range(0, len(space), PIECE))
        return {f"{SPACE_OF}{number}": piece for number, piece in enumerate(pieces)} | {RECORD: self.to_plain()}

    def to_plain(self) -> dict[str, Any]:
        """As JSON has it, without the space."""
        base = {
            "names": self.base.names,
            "model": flat(self.base.model),
            "task": {"name": self.base.task.name, **flat(self.base.task.options)},
            "training": flat(self.base.training),
        }
        return {
            "format": self.format,
            "search": flat(self.search),
            "base": base,
            "quality": flat(self.quality),
            "folder": self.folder,
            "plugins": self.plugins,
        }


def read_record(attributes: Mapping[str, Any], name: str) -> StudyRecord:
    """The record among a study's attributes.

    Raises:
        StudyError: a later version has written it.
    """
    data = attributes[RECORD]
    if data["format"] > FORMAT:
        raise StudyError(f"study {name} was begun by a later version of this project: install it to go on")
    with plugins_named(data.get("plugins", ()), name):
        return _record(data, attributes, name)


@contextmanager
def plugins_named(plugins: Iterable[str], name: str) -> Iterator[None]:
    """Add to an error of a recipe the plugin folders of a study that this command was not given."""
    try:
        yield
    except RecipeError as error:
        missing = [text for text in plugins if Path(text) not in registry.plugin_folders()]
        if not missing:
            raise
        given = " ".join(f"--plugins {shlex.quote(text)}" for text in missing)
        raise StudyError(f"{error}\nStudy {name} was begun with {given}: say so again") from error


def _record(data: Mapping[str, Any], attributes: Mapping[str, Any], name: str) -> StudyRecord:
    base = data["base"]
    # Format 1 had the space in the record.
    pieces = [data.get("space", {}), *(attributes[key] for key in attributes if key.startswith(SPACE_OF))]
    return StudyRecord(
        search=check(SearchRecipe, data["search"], source=f"study {name}"),
        base=check_run(
            base,
            training=TrainingOptions,
            names=base["names"],
            sources=dict.fromkeys(PARTS, f"study {name}"),
        ),
        space={name: kind for piece in pieces for name, kind in piece.items()},
        quality=Quality(**data["quality"]),
        folder=data["folder"],
        plugins=list(data.get("plugins", ())),
        format=data["format"],
    )


class Study:
    """One study in its storage.

    Arguments:
        storage: as :func:`~search.storage.open_storage` gives it.
        name: of the study in it.
        url: of the storage, for messages.

    Raises:
        StudyError: there is no study of this name, or none of this project's.
    """

    def __init__(self, storage: BaseStorage, name: str, *, url: str) -> None:
        self.storage = storage
        self.name = name
        self.url = url
        try:
            self.optuna = optuna.load_study(study_name=name, storage=storage, sampler=RandomSampler(seed=0))
        except KeyError:
            known = ", ".join(sorted(storage.get_study_name_from_id(s._study_id) for s in storage.get_all_studies()))
            raise StudyError(f"{without_password(url)} holds no study {name!r}; it holds {known or 'none'}") from None
        attributes = self.optuna.user_attrs
        if RECORD not in attributes:
            raise StudyError(f"study {name} in {without_password(url)} was not begun by eos search")
        self.record = read_record(attributes, name)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials as they stand now."""
        return self.optuna.get_trials(deepcopy=False)

    @property
    def wanted(self) -> int:
        """How many trials are asked for."""
        return int(self.optuna.user_attrs.get(TRIALS, 0))

    def ask_for(self, trials: int) -> None:
        """Let there be so many trials, failed ones included and lost ones not: those that miss are made, and wait."""
        missing = trials - sum(not lost(trial) for trial in self.trials)
        for _ in range(missing):
            self.optuna.enqueue_trial({})
        self.optuna.set_user_attr(TRIALS, max(trials, self.wanted))

    def enqueue(self, params: Mapping[str, Any], *, origin: str) -> None:
        """Let these parameters be tried next, unless they stand in the study already."""
        if not any(trial.params == params or fixed(trial) == params for trial in self.trials):
            self.optuna.enqueue_trial(dict(params), user_attrs={ORIGIN: origin})

    def claim(self) -> Trial | None:
        """A waiting trial, which is now this process's; None where none waits."""
        for waiting in sorted(self.optuna.get_trials(deepcopy=False, states=(TrialState.WAITING,)), key=_order):
            try:
                if self.storage.set_trial_state_values(waiting._trial_id, TrialState.RUNNING):
                    return Trial(self.optuna, waiting._trial_id)
            except UpdateFinishedTrialError:
                continue
        return None

    def release(self, trial: Trial) -> None:
        """Let a trial that was stopped wait for who goes on with it: its parameters and its runs stay."""
        self.storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)

    def fail(self, trial: Trial | FrozenTrial, reason: str) -> bool:
        """Say that a trial failed, and why; False where it had already ended."""
        try:
            self.storage.set_trial_user_attr(trial._trial_id, REASON, reason)
            self.storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        except UpdateFinishedTrialError:
            return False
        return True

    def retry(self, lost: FrozenTrial) -> None:
        """Let a trial whose worker is gone be run once more, with its parameters."""
        attributes = {RETRY_OF: lost.number}
        if ORIGIN in lost.user_attrs:
            attributes[ORIGIN] = lost.user_attrs[ORIGIN]
        params = lost.params or fixed(lost)
        trial = create_trial(state=TrialState.WAITING, user_attrs=attributes, system_attrs={"fixed_params": params})
        self.optuna.add_trial(trial)


def begin(url: str, name: str, record: StudyRecord) -> Study:
    """A new study.

    Raises:
        StudyError: the name is taken, or the storage cannot be used.
    """
    storage = open_storage(url)
    higher = [record.quality.higher if each == "quality" else False for each in record.search.objectives]
    directions = [StudyDirection.MAXIMIZE if each else StudyDirection.MINIMIZE for each in higher]
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        study = optuna.create_study(storage=storage, study_name=name, directions=directions)
    except DuplicatedStudyError:
        raise StudyError(f"{without_password(url)} holds a study {name} already") from None
    for key, value in record.attributes().items():
        study.set_user_attr(key, value)
    with warnings.catch_warnings():
        # Chosen knowing that it may change: optuna-dashboard shows the names.
        warnings.simplefilter("ignore", ExperimentalWarning)
        study.set_metric_names(record.objectives)
    return Study(storage, name, url=url)


def join(url: str, name: str | None = None) -> Study:
    """A study that exists; of a storage that holds one alone, that one.

    Raises:
        StudyError: it does not exist, or the storage cannot be used.
    """
    file = url.removeprefix("sqlite:///") if "://" not in url or url.startswith("sqlite:///") else None
    if file is not None and not Path(file).is_file():
        # Opening it would make one.
        raise StudyError(f"there is no study in {url}: no such file")
    storage = open_storage(url)
    if name is None:
        names = exist(storage)
        if len(names) != 1:
            held = f"holds {len(names)} studies ({', '.join(names)}): name one with study=" if names else "holds none"
            raise StudyError(f"{without_password(url)} {held}")
        name = names[0]
    return Study(storage, name, url=url)


def exist(storage: BaseStorage) -> list[str]:
    """The names of the studies in a storage."""
    return sorted(study.study_name for study in storage.get_all_studies())


def differences(before: StudyRecord, after: StudyRecord) -> list[str]:
    """What another search would have changed in a study, a line each; none where it goes on with it."""
    lines = []
    for name in sorted(before.space.keys() | after.space.keys()):
        old, new = before.space.get(name), after.space.get(name)
        if old != new:
            lines.append(_changed(name, old, new))
    old_search, new_search = flat(before.search), flat(after.search)
    for key in sorted(old_search.keys() - FREE - SPACE):
        if old_search[key] != new_search[key]:
            lines.append(f"search.{key}: {old_search[key]} → {new_search[key]}")
    if before.quality != after.quality:
        lines.append(f"metric: {before.quality.metric} → {after.quality.metric}")
    first, second = before.to_plain()["base"], after.to_plain()["base"]
    lines += [f"{path}: {old} → {new}" for path, old, new in _walk(first, second)]
    return lines


def _changed(name: str, old: str | None, new: str | None) -> str:
    from optuna.distributions import CategoricalDistribution, json_to_distribution

    from search.chooser import shown

    if old is None or new is None:
        return f"space: {name} {'is new' if old is None else 'is gone'}"
    one, other = json_to_distribution(old), json_to_distribution(new)
    if isinstance(one, CategoricalDistribution) and isinstance(other, CategoricalDistribution):
        more = [f"+{each}" for each in other.choices if each not in one.choices]
        less = [f"−{each}" for each in one.choices if each not in other.choices]
        if more or less:
            return f"space: {name}: {' '.join([*more, *less])}"
    return f"space: {name}: {shown(one)} → {shown(other)}"


def _walk(old: Any, new: Any, path: str = "") -> Iterable[tuple[str, Any, Any]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _walk(old.get(key), new.get(key), f"{path}.{key}".lstrip("."))
    elif old != new:
        yield path, old, new


def kept(changes: list[str]) -> bool:
    """Whether a study that differs by these lines may take over the trials of the other."""
    return all(line.startswith(HOW) for line in changes)


def carry_over(source: Study, target: Study, space: Space) -> tuple[int, int]:
    """Copy the finished trials of another study that are candidates of this space too; how many were, and were not.

    Raises:
        StudyError: the other study has another base, metric, budget or tuning, so that its values are not comparable.
    """
    changed = [line for line in differences(source.record, target.record) if not kept([line])]
    if changed:
        raise StudyError(
            f"what {source.name} found is no answer here, for it asked otherwise: {'; '.join(changed)}. Ask as it did, "
            "or leave out from="
        )
    taken = left = 0
    for trial in source.optuna.get_trials(deepcopy=False, states=DONE):
        try:
            candidate = space.candidate(trial.params)
        except RecipeError:
            left += 1
            continue
        distributions = {name: each for name, each in space.dimensions.items() if name in candidate.params}
        copied = create_trial(
            state=trial.state,
            values=trial.values,
            params=candidate.params,
            distributions=distributions,
            user_attrs={**trial.user_attrs, ORIGIN: f"{source.name} {trial.number}"},
            intermediate_values=trial.intermediate_values,
        )
        target.optuna.add_trial(copied)
        taken += 1
    return taken, left


def make_pruner(search: SearchRecipe, *, first: int, steps: int) -> BasePruner:
    """What ends bad runs early.

    Arguments:
        first: the step of the first validation.
        steps: of a whole run.
    """
    match search.pruner:
        case "median":
            return MedianPruner(n_startup_trials=search.startup, n_warmup_steps=first)
        case "asha":
            return SuccessiveHalvingPruner(min_resource=first, reduction_factor=search.reduction)
        case "hyperband":
            return HyperbandPruner(min_resource=first, max_resource=steps, reduction_factor=search.reduction)
    return NopPruner()


def lost(trial: FrozenTrial) -> bool:
    """Whether its worker was gone before it ended; it is then run once more, as another trial."""
    return trial.state == TrialState.FAIL and LOST in trial.user_attrs


def fixed(trial: FrozenTrial) -> dict[str, Any]:
    """The parameters that a waiting trial was given."""
    return dict(trial.system_attrs.get("fixed_params", {}))


def _order(trial: FrozenTrial) -> tuple[bool, int]:
    """Trials with parameters of their own come first, in the order in which they were made."""
    return not (trial.params or fixed(trial)), trial.number
