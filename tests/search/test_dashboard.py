"""What the dashboard is told of a study."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest

from eos.dashboard.gather import Reader
from eos.errors import RecipeError
from search.dashboard import read_study
from search.objective import Outcome
from search.place import FOLDERS, point
from search.space import Candidate, Space
from search.storage import StudyError
from search.study import Study
from search.worker import work
from tests.dashboard.folders import write_run

NARROW = {"expand": ["linear", "elu"], "oscillation": ["none", "key_gate"], "shrink": "fixed", "options": "none"}


@pytest.fixture
def searched(study_of: Callable[..., Study], space_of: Callable[..., Space], tmp_path: Path) -> Path:
    """The folder of a search: four trials with a run each, one of which failed."""
    folder = tmp_path / "runs"
    space = space_of(**NARROW, sampler="grid", vary={"learning_rate": [1e-3, 2e-3, 4e-3]})
    study = study_of(space, trials=12)

    def objective(candidate: Candidate, trial: optuna.Trial, place: Path) -> Outcome:
        write_run(place / "seed-1", f"learning_rate={candidate.recipe.training.learning_rate}")
        if trial.number == 2:
            raise RecipeError("no such thing")
        runs = [{"seed": 1, "validation": 0.5, "test": 0.4, "folder": "seed-1", "chosen": True}]
        trial.report(0.25, 10)
        return Outcome(status="complete", values=[0.5 + 0.01 * trial.number], runs=runs)

    work(study, space, objective, folder=folder / FOLDERS)
    point(folder, study.url, "tested")
    return folder


def test_a_study_is_told_with_its_trials_their_runs_and_what_matters(searched: Path) -> None:
    study = read_study(str(searched))
    assert (study["name"], study["folder"]) == ("tested", str(searched))
    assert study["states"] == {"complete": 11, "pruned": 0, "failed": 1, "running": 0, "waiting": 0}
    assert study["objectives"] == [{"name": "accuracy", "higher": True}]
    assert study["trials"][0]["values"] == [0.5]
    assert study["trials"][0]["last"] == {"step": 10, "value": 0.25}
    assert study["trials"][2]["reason"] == "RecipeError: no such thing"
    assert {each["name"] for each in study["importances"]["fANOVA"]} == {"expand", "oscillation", "learning_rate"}
    assert study["note"] is None
    assert "eos search export" in study["rerun"][0]


def test_runs_of_a_search_are_cells_of_their_trials(searched: Path) -> None:
    data = Reader([searched], command="eos report").gather().data
    assert data["unreadable"] == []
    (study,) = data["studies"]
    for trial in study["trials"]:
        if trial["state"] == "complete":
            run = data["runs"][trial["run"]]
            assert run["trial"] == {"study": "tested", "number": trial["number"]}
            cell = data["cells"][run["cell"]]
            assert cell["study"] == "tested"
            assert cell["name"].startswith(f"tested {trial['number']} · ")


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is no folder of a search"):
        read_study(str(tmp_path))
    with pytest.raises(StudyError, match="no such file"):
        read_study(str(tmp_path / "study.log"))
