"""What a slot of a mixer may hold, and what of a stage may vary: read off the registry and the stages' options."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from eos import registry
from eos.config import OptionField, option_fields
from eos.errors import RecipeError, unknown

KINDS = ("expand", "oscillation", "shrink", "couple")
NOTHING = "none"
#: Where only an exclusive lower bound is declared, a logarithmic scale begins this far below the default.
BELOW_DEFAULT = 100
#: Whole numbers that span more than this are sampled on a logarithmic scale.
WIDE = 64


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """What stands in a slot.

    Arguments:
        label: as studies and tables show it.
        stages: names, each with the options that are fixed; several for a product, none for no stage.
    """

    label: str
    stages: tuple[tuple[str, dict[str, Any]], ...]


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One number or choice of a candidate.

    Arguments:
        name: unique in the space, ``oscillation.key_gate.tau``.
        distribution: the values that it may have.
        default: one of them.
    """

    name: str
    distribution: BaseDistribution
    default: Any


def alternatives(kind: str, said: Any) -> list[Alternative]:
    """The alternatives of a kind that a search recipe says.

    Arguments:
        kind: expand, oscillation, shrink or couple.
        said: ``any``, or a list of names, products, and mappings of a name and options.

    Raises:
        RecipeError: an unknown stage or option, an empty list, or one alternative twice.
    """
    if said == "any":
        said = [NOTHING] * (kind in ("oscillation", "couple")) + sorted(registry.stages(kind))
    found = [_alternative(kind, each) for each in said]
    if not found:
        raise RecipeError(f"search.{kind} is an empty list: name stages, or take any or fixed")
    labels = [each.label for each in found]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise RecipeError(f"search.{kind} has {twice} twice")
    return found


def _alternative(kind: str, said: Any) -> Alternative:
    if isinstance(said, str):
        parts = [] if said == NOTHING else [name.strip() for name in said.split("+")]
        stages = [{"name": name} for name in parts]
    else:
        stages = said if isinstance(said, list) else [said]
    single = kind in ("expand", "shrink")
    if len(stages) != 1 and (single or (kind == "couple" and stages)):
        raise RecipeError(f"search.{kind}: {said!r} must be one stage; products are for the oscillation")
    return Alternative(label="+".join(map(_label, stages)) or NOTHING, stages=tuple(_fixed(kind, s) for s in stages))


def _label(stage: dict[str, Any]) -> str:
    options = "".join(f" {key}={value}" for key, value in stage.items() if key != "name")
    return f"{stage.get('name')}{options}"


def _fixed(kind: str, stage: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    options = {key: value for key, value in stage.items() if key != "name"}
    name = str(stage.get("name"))
    known = option_fields(registry.stage(kind, name).load().Options)
    for key in options:
        if key not in known:
            raise RecipeError(f"search.{kind}: {unknown(f'option of {name}', key, known)}")
    return name, options


def varied(kind: str, alternative: Alternative, *, which: str | list[str]) -> Iterator[tuple[int, str, Dimension]]:
    """What varies of the stages of an alternative: the place of the stage, its option, and the dimension.

    Arguments:
        which: any, choices, none, or names of options.
    """
    seen: dict[str, int] = {}
    for place, (name, fixed) in enumerate(alternative.stages):
        seen[name] = seen.get(name, 0) + 1
        prefix = f"{kind}.{name}" if seen[name] == 1 else f"{kind}.{name}.{seen[name]}"
        for field in option_fields(registry.stage(kind, name).load().Options).values():
            if field.name in fixed or which == "none" or (isinstance(which, list) and field.name not in which):
                continue
            if which != "choices" or field.choices:
                distribution = distribution_of(field)
                if distribution is not None:
                    dimension = Dimension(
                        name=f"{prefix}.{field.name}", distribution=distribution, default=field.default
                    )
                    yield place, field.name, dimension


def distribution_of(field: OptionField) -> BaseDistribution | None:
    """The values that an option may have; None where it declares no range.

    A whole number that may be null is null or a power of two.
    """
    if field.required:
        return None
    if field.choices:
        return CategoricalDistribution(field.choices)
    members = get_args(field.type) if get_origin(field.type) in (Union, UnionType) else (field.type,)
    numbers = [member for member in members if member is not NoneType]
    if numbers not in ([int], [float]) or field.high is None or (field.low is None and field.above is None):
        return None
    if NoneType not in members:
        return _range(field, whole=numbers == [int])
    low = max(1, field.low or 0)
    powers = [2**n for n in range(int(field.high).bit_length()) if low <= 2**n <= field.high]
    return CategoricalDistribution([None, *powers]) if numbers == [int] else None


def _range(field: OptionField, *, whole: bool) -> FloatDistribution | IntDistribution:
    """From the declared bounds; an exclusive lower one is approached, on a logarithmic scale from the default."""
    assert field.high is not None
    if whole:
        low = int(field.low if field.low is not None else (field.above or 0) + 1)
        high = int(field.high)
        return IntDistribution(low, high, log=low >= 1 and high / low > WIDE)
    if field.low is not None:
        return FloatDistribution(field.low, field.high, log=field.log and field.low > 0)
    assert field.above is not None
    if field.log:
        begin = max(field.default / BELOW_DEFAULT, field.above * 1.001)
        return FloatDistribution(begin, field.high, log=True)
    return FloatDistribution(min(field.default, field.above + (field.high - field.above) / 1000), field.high)


def stages_in(said: Any) -> list[dict[str, Any]]:
    """The stages of a slot, as mappings that may be changed in place."""
    if said is None:
        return []
    return said if isinstance(said, list) else [said]


def same_as(choices: Sequence[Alternative], stages: Sequence[Mapping[str, Any]]) -> Alternative | None:
    """The alternative that these stages are, by name and by what it fixes; the one that fixes most."""

    def fits(each: Alternative) -> bool:
        return len(each.stages) == len(stages) and all(
            name == stage["name"] and all(stage.get(key) == value for key, value in fixed.items())
            for (name, fixed), stage in zip(each.stages, stages, strict=True)
        )

    found = [each for each in choices if fits(each)]
    return max(found, key=lambda each: sum(len(fixed) for _, fixed in each.stages), default=None)
