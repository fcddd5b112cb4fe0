"""Killed at any moment, a run goes on to what it would have been: bit for bit, by one process on a CPU."""

import multiprocessing as mp
import random
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.training.fakes import TinyModel, fit_in, training_options
from tests.training.test_resume import assert_same

#: Kills, and those of them that are not only in make test-all.
KILLS, FEW = 50, 3
OPTIONS: dict[str, Any] = {"workers": 0, "checkpoint_every": 3, "log_every": 1, "validate_every": 4}


class SlowModel(TinyModel):
    """Takes long enough for a kill to come in its midst; tells when it begins."""

    begun: Connection | None = None

    def forward(self, tokens: Tensor, **arguments: Any) -> Tensor:
        if self.begun is not None:
            self.begun.send("begun")
            self.begun = None
        time.sleep(0.003)
        return super().forward(tokens, **arguments)


def run(path: Path, begun: Connection) -> None:
    torch.set_num_threads(1)
    model = SlowModel()
    model.begun = begun
    fit_in(path, model, training_options(**OPTIONS))
    begun.send("done")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Tensor], float]:
    """The run that nobody kills, and the seconds that it takes."""
    path, model = tmp_path_factory.mktemp("undisturbed") / "run", SlowModel()
    began = time.monotonic()
    fit_in(path, model, training_options(**OPTIONS))
    return path, model.state_dict(), time.monotonic() - began


@pytest.fixture(scope="module")
def processes() -> Any:
    """Children that have imported all they need."""
    context = mp.get_context("forkserver")
    context.set_forkserver_preload([__name__, "tests.training.fakes"])
    return context


@pytest.mark.parametrize("moment", [n if n < FEW else pytest.param(n, marks=pytest.mark.slow) for n in range(KILLS)])
def test_a_killed_run_goes_on_to_the_same_numbers(
    moment: int, undisturbed: tuple[Path, dict[str, Tensor], float], processes: Any, tmp_path: Path
) -> None:
    path, draw = tmp_path / "run", random.Random(moment)
    expected_path, expected, seconds = undisturbed
    # now and then what has been gone on with is killed, too
    for _ in range(1 + moment % 3):
        told, begun = processes.Pipe(duplex=False)
        child = processes.Process(target=run, args=(path, begun))
        child.start()
        begun.close()
        assert told.poll(60), "the run did not begin"
        time.sleep(draw.uniform(0, seconds))
        child.kill()
        child.join()
        assert child.exitcode in (-signal.SIGKILL, 0)
    model = TinyModel()
    fit_in(path, model, training_options(**OPTIONS))
    assert_same(path, model, (expected_path, expected))
