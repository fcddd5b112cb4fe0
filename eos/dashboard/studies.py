"""Studies as whoever knows them reads them, and no more often than their reading is worth."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from eos.errors import EOSError

#: Where a package says how its studies are read: a function from a folder or a storage's URL to a study, plain.
GROUP = "eos.studies"
#: A study is read again after this many times as long as its reading took: importances of many trials take seconds.
REST = 20.0

Plain = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What came of reading a study.

    Arguments:
        place: its folder, or its storage's URL.
        study: None where it could not be read.
        error: why.
        again: when it is worth reading again, by the monotonic clock.
    """

    place: str
    study: Plain | None
    error: str
    again: float

    @property
    def runs(self) -> Iterator[tuple[Path, int]]:
        """The folder of every run of a trial, with the trial's number."""
        if self.study is not None:
            for trial in self.study["trials"]:
                for folder in trial["folders"]:
                    yield (Path(self.study["folder"]) / folder).resolve(), trial["number"]

    def shown(self, runs: Mapping[Path, int]) -> Plain | None:
        """The study as the page has it: trials with the page's number of their first run, in place of folders."""
        if self.study is None:
            return None
        first: dict[int, int] = {}
        for path, number in self.runs:
            if path in runs:
                first.setdefault(number, runs[path])
        trials = [
            {**{key: value for key, value in trial.items() if key != "folders"}, "run": first.get(trial["number"])}
            for trial in self.study["trials"]
        ]
        return {**self.study, "trials": trials}


class Studies:
    """Reads studies, each again when it has rested."""

    def __init__(self) -> None:
        self._held: dict[str, Reading] = {}

    def read(self, places: Iterable[str]) -> list[Reading]:
        """One reading of each place by each package that reads studies."""
        return [self._reading(place) for place in places]

    def _reading(self, place: str) -> Reading:
        held = self._held.get(place)
        if held is None or time.monotonic() >= held.again:
            held = self._held[place] = _read(place)
        return held


def _read(place: str) -> Reading:
    began, study, error = time.monotonic(), None, "no package is installed that reads studies"
    for point in entry_points(group=GROUP):
        try:
            study = point.load()(place)
            break
        except EOSError as refusal:
            error = str(refusal)
        except Exception as fault:  # noqa: BLE001 - a damaged study is one line of the page, not the end of it
            error = f"it cannot be read ({type(fault).__name__}: {fault})"
    now = time.monotonic()
    return Reading(place=place, study=study, error=error, again=now + REST * (now - began))
