"""Runs that torchrun begins, for tests of several processes."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from eos.cli.recipes import load_run_recipe
from eos.training.folder import RunFolder
from eos.training.log import read_metrics
from eos.training.result import read_result
from eos.training.run import train
from tests.ports import free_ports

SMALL = (
    "model=gated_deltanet layers=1 width=16 task.length=32 task.documents=true training.steps=12 training.rows=8 "
    "training.device=cpu training.validate_every=6 training.evaluation_tokens=1024 training.validation_tokens=1024 "
    "training.log_every=3 training.sample=0"
).split()
TORCHRUN = Path(sys.executable).with_name("torchrun")
EOS = Path(sys.executable).with_name("eos")


@contextmanager
def begun(count: int, *words: str, folder: Path, places: Sequence[str] = ()) -> Iterator["subprocess.Popen[str]"]:
    """eos train in so many processes; what is left of them at the end is killed."""
    meet = places or ["--standalone"]
    command = [str(TORCHRUN), *meet, "--nproc-per-node", str(count), "--no-python", str(EOS), "train", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate(timeout=60)


def done(count: int, *words: str, folder: Path, hosts: int = 1) -> str:
    """What they said, once they are done; with several hosts, what those of all said that have so many each."""
    places: list[list[str]] = [[]]
    if hosts > 1:
        # as on two machines of a cluster that see one file system
        endpoint = f"127.0.0.1:{free_ports(1)[0]}"
        meet = [
            "--nnodes",
            str(hosts),
            "--rdzv-backend",
            "c10d",
            "--rdzv-endpoint",
            endpoint,
            "--local-addr",
            "127.0.0.1",
        ]
        places = [[*meet, "--node-rank", str(host)] for host in range(hosts)]
    with ExitStack() as stack:
        begins = [stack.enter_context(begun(count, *words, folder=folder, places=place)) for place in places]
        said = [process.communicate(timeout=240)[0] for process in begins]
        assert [process.returncode for process in begins] == [0] * hosts, said
    return "".join(said)


def by_one(*words: str, run: Path) -> None:
    """The same in one process, this one."""
    assert train(load_run_recipe(list(words)), run).status == "finished"


def workers_of(process: "subprocess.Popen[str]") -> list[int]:
    """The processes that torchrun has begun."""
    return [int(child) for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def wait_for_a_checkpoint(run: Path, process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + 120
    while not RunFolder(run).checkpoints.index.exists():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)


def numbers(run: Path) -> dict[tuple[int, str], float]:
    """All that a run logged which does not depend on the clock, and its test metrics."""
    found = {
        (row.step, row.metric): row.value
        for row in read_metrics(run / "metrics.csv")
        if row.metric != "train/tokens_per_second"
    }
    metrics = read_result(run / "result.json").metrics["test"]
    return found | {(0, name): value for name, value in metrics.items() if value is not None}
