"""The folder of a search, and the study it points to."""

import os
from pathlib import Path

from eos.training.files import read_json, write_json
from search.storage import StudyError
from search.study import Study, join

#: Where searches stand that name no folder.
ROOT = Path("runs") / "search"
#: In a search's folder: where its study is kept, and the study itself unless that is elsewhere.
POINTER, JOURNAL = "study.json", "study.log"
#: In a search's folder: the runs of its trials, one folder a trial.
FOLDERS = "trials"


def point(folder: Path, storage: str, study: str) -> None:
    """Write down in a search's folder where its study is kept; a file's path from there, so that both can be moved."""
    if "://" not in storage:
        storage = os.path.relpath(storage, folder)
    write_json(folder / POINTER, {"storage": storage, "study": study})


def located(argument: str | None, own: dict[str, str]) -> tuple[Study, Path]:
    """The study of a folder, or of ``storage=`` and ``study=``; and the folder of its runs.

    Raises:
        StudyError: there is none.
    """
    if argument is not None and "storage" not in own:
        folder = next((path for path in (Path(argument), ROOT / argument) if (path / POINTER).is_file()), None)
        if folder is None:
            raise StudyError(
                f"{argument} is no folder of a search (there is no {POINTER} in it); give that folder, its name below "
                f"{ROOT}, or storage=URL study=NAME"
            )
        said = read_json(folder / POINTER)
        # An earlier version wrote a path from where it was called.
        beside = folder / said["storage"]
        storage = str(beside) if "://" not in said["storage"] and beside.is_file() else said["storage"]
        return join(storage, said["study"]), Path(own.get("folder", folder))
    if "storage" not in own:
        raise StudyError("name a study: its folder, or storage=URL study=NAME")
    study = join(own["storage"], own.get("study", argument))
    return study, Path(own.get("folder", study.record.folder))
