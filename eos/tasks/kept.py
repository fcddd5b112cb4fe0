"""What a run keeps of its task, so that its model is never shown tokens or asked for classes that it does not know."""

import json
from pathlib import Path

from eos.errors import DataError

#: Stands in a run's folder.
KEPT = "task.json"


def keep(folder: Path, **numbers: int) -> None:
    """Write down numbers that a model is built with, by their names."""
    (folder / KEPT).write_text(json.dumps(numbers) + "\n", encoding="utf-8")


def check_kept(folder: Path, **numbers: int) -> None:
    """Refuse a run whose model was built with others.

    Raises:
        DataError: it was, or the folder holds no such run.
    """
    try:
        known = json.loads((folder / KEPT).read_text(encoding="utf-8"))
        if known.keys() != numbers.keys():
            raise DataError(
                f"the run's model was built for {' and '.join(known)}, and this task wants {' and '.join(numbers)}: "
                "they are of different kinds"
            )
        other = {name: known[name] for name, number in numbers.items() if known[name] != number}
    except (OSError, ValueError, AttributeError) as error:
        raise DataError(f"{folder} holds no run on a task of this kind: {KEPT} cannot be read ({error})") from error
    for name, number in other.items():
        raise DataError(f"the run's model was built for {name} = {number}, and this task has {numbers[name]}")
