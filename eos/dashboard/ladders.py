"""Scaling laws of ladders, as eos scale has written them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from eos.errors import RunError
from eos.training.files import read_json

#: What the folder of a ladder holds beside its runs.
LADDER = "scale.json"
Range = tuple[float, float]


class _Point(TypedDict):
    parameters: float
    tokens: float
    compute: float
    loss: float
    folder: str


class _Law(TypedDict):
    floor: float
    coefficients: list[float]
    exponents: list[float]
    residual: float


class _Share(TypedDict):
    parameters: float
    range: Range


class _Best(TypedDict):
    parameters: float
    tokens: float
    loss: float


class _Spent(TypedDict):
    compute: float
    best: _Best
    parameters: Range
    loss: Range


class _Study(TypedDict):
    points: list[_Point]
    frontier: list[_Point]
    power: _Law | None
    exponent: Range | None
    both: _Law | None
    exponents: tuple[Range, Range] | None
    share: _Share | None
    budgets: list[_Spent]
    missing: list[str]


_RECORD: TypeAdapter[dict[str, _Study]] = TypeAdapter(dict[str, _Study])


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """A ladder that was read.

    Arguments:
        folder: of its runs.
        models: by name; None where the record is damaged.
        error: why.
    """

    folder: Path
    models: dict[str, Any] | None
    error: str = ""

    @property
    def plain(self) -> dict[str, Any]:
        """As the page has it."""
        return {"name": self.folder.name, "folder": str(self.folder), "models": self.models}


class Ladders:
    """Reads ladders, and again only what has changed since."""

    def __init__(self) -> None:
        self._held: dict[Path, tuple[object, Ladder]] = {}

    def read(self, folders: Iterable[Path]) -> list[Ladder]:
        """One for each folder."""
        return [self._one(folder) for folder in folders]

    def _one(self, folder: Path) -> Ladder:
        try:
            held = (folder / LADDER).stat()
            state = (held.st_mtime_ns, held.st_size)
            if folder not in self._held or self._held[folder][0] != state:
                models = _RECORD.validate_python(read_json(folder / LADDER))
                self._held[folder] = (state, Ladder(folder=folder, models=dict(models)))
            return self._held[folder][1]
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{LADDER}: {'.'.join(map(str, first['loc']))}: {first['msg']}"
        except (RunError, OSError) as error:
            reason = str(error)
        self._held.pop(folder, None)
        return Ladder(folder=folder, models=None, error=reason)
