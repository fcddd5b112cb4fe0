"""A worker of the tests, whose candidates cost next to nothing: URL, name of the study, a file to write to."""

import sys
import time
from pathlib import Path

import optuna

from search.objective import Outcome
from search.space import Candidate
from search.study import join
from search.worker import prepared, work


def main(url: str, name: str, done: Path) -> None:
    """Work, and write down the number of every trial that was run."""
    study = join(url, name)
    space, _ = prepared(study, Path(study.record.folder))

    def stub(candidate: Candidate, trial: optuna.Trial, folder: Path) -> Outcome:
        time.sleep(0.02)
        with done.open("a") as out:
            out.write(f"{trial.number}\n")
        return Outcome(status="complete", values=[float(len(candidate.params["expand"]))])

    work(study, space, stub, folder=Path(study.record.folder), beat=0.5, grace=5.0)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
