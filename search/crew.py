"""Workers that one command starts: processes of this machine, jobs of SLURM, or tasks of a Ray cluster."""

import os
import shutil
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eos import registry
from eos.errors import install
from search.storage import StudyError

#: Minutes.
DAY = 24 * 60


class AbstractCrew(ABC):
    """Workers at work."""

    @abstractmethod
    def working(self) -> bool:
        """Whether any of them has not ended."""

    @abstractmethod
    def stop(self, number: int) -> None:
        """Let them save what they do and end: the signal of this number, or what stands for it."""

    @abstractmethod
    def fault(self) -> str | None:
        """Why a worker ended before its work was done, or None; once none is working."""


class Processes(AbstractCrew):
    """Processes of this machine, each with its share of the cores and a log of its own.

    Arguments:
        where: what ``eos worker`` is told.
        count: how many, ≥ 1.
        logs: a folder.
    """

    def __init__(self, where: Sequence[str], count: int, logs: Path) -> None:
        environment = dict(os.environ)
        environment.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // count)))
        self._logs = [logs / f"worker-{number}.log" for number in range(count)]
        self._processes = [_start(worker_command(where), environment, log) for log in self._logs]

    def working(self) -> bool:
        return any(process.poll() is None for process in self._processes)

    def stop(self, number: int) -> None:
        for process in self._processes:
            process.send_signal(number)

    def fault(self) -> str | None:
        for process, log in zip(self._processes, self._logs, strict=True):
            if process.returncode:
                last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
                return f"a worker ended with status {process.returncode}; the end of {log}: {last}"
        return None


def _start(command: list[str], environment: dict[str, str], log: Path) -> "subprocess.Popen[bytes]":
    """A process outside of the terminal's group, so that it is told of Ctrl-C once."""
    with log.open("ab") as out:
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
        )


class SlurmJobs(AbstractCrew):
    """Jobs that submitit hands to SLURM; with the option ``cluster`` local, processes of this machine.

    Arguments:
        where: what ``eos worker`` is told.
        count: how many, ≥ 1.
        logs: a folder that all machines see.
        options: of submitit's executor, ``{"slurm_partition": "gpu", "gpus_per_node": 1, "timeout_min": 600}``; a
            job may take a day unless ``timeout_min`` says otherwise.

    Raises:
        StudyError: submitit is not installed, there is no SLURM here, or it refuses.
    """

    def __init__(self, where: Sequence[str], count: int, logs: Path, options: Mapping[str, Any]) -> None:
        try:
            import submitit
        except ImportError:
            raise StudyError(f"on=slurm needs submitit; {install('slurm')}") from None
        # By itself submitit gives a job five minutes, and takes this machine where there is no SLURM.
        chosen = {"timeout_min": DAY, "cluster": "slurm", **options}
        if chosen["cluster"] == "slurm" and shutil.which("srun") is None:
            raise StudyError(
                "there is no SLURM here (no srun): give the command on a machine that has it, or "
                "options={cluster: local} to try it with processes of this one"
            )
        try:
            executor = submitit.AutoExecutor(folder=logs, cluster=chosen.pop("cluster"))
            executor.update_parameters(name="eos-search", **chosen)
            with executor.batch():
                self._jobs = [executor.submit(subprocess.check_call, worker_command(where)) for _ in range(count)]
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            raise StudyError(f"SLURM takes no jobs: {error}") from error

    def working(self) -> bool:
        return not all(job.done() for job in self._jobs)

    def stop(self, number: int) -> None:
        for job in self._jobs:
            job.cancel(check=False)

    def fault(self) -> str | None:
        for job in self._jobs:
            # A job that ran out of time has ended too, without having told why.
            if job.state != "CANCELLED" and (error := job.exception()) is not None:
                return (
                    f"job {job.job_id} ended with an error; the end of {job.paths.stderr}: {str(error).strip()[-300:]}"
                )
        return None


class RayTasks(AbstractCrew):
    """Tasks of a Ray cluster, each with a core of its own (or what ``options`` say).

    Arguments:
        where: what ``eos worker`` is told.
        count: how many, ≥ 1.
        address: of the cluster, ``auto`` or ``HOST:PORT``; None: one on this machine.
        options: of a task, ``{"num_cpus": 4, "num_gpus": 1}``.

    Raises:
        StudyError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, where: Sequence[str], count: int, *, address: str | None, options: Mapping[str, Any]) -> None:
        try:
            import ray
        except ImportError:
            raise StudyError(f"on=ray needs Ray; {install('ray')}") from None
        self._ray = ray
        try:
            if not ray.is_initialized():
                ray.init(address=address, log_to_driver=False, configure_logging=False, include_dashboard=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise StudyError(f"there is no Ray cluster at {address}: {error}") from error
        # A worker is a process of its own, whose signals and threads are not Ray's.
        task = ray.remote(max_retries=0, **options)(_supervised)
        self._tasks = [task.remote(worker_command(where)) for _ in range(count)]

    def working(self) -> bool:
        _, waiting = self._ray.wait(self._tasks, num_returns=len(self._tasks), timeout=0)
        return bool(waiting)

    def stop(self, number: int) -> None:
        for task in self._tasks:
            self._ray.cancel(task, force=False)

    def fault(self) -> str | None:
        for task in self._tasks:
            try:
                status, said = self._ray.get(task)
            except (self._ray.exceptions.RayError, KeyboardInterrupt) as error:
                if isinstance(error, self._ray.exceptions.TaskCancelledError):
                    continue
                return f"a worker is gone: {error}"
            if status:
                return f"a worker ended with status {status}: {said}"
        return None


def _supervised(command: list[str]) -> tuple[int, str]:
    """Run a worker until it ends; where its task is cancelled, let it save what it does. Its status and last line."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        _, said = process.communicate()
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    last = said.decode("utf-8", errors="replace").strip().rpartition("\n")[2]
    return (0 if process.returncode == 128 + signal.SIGINT else process.returncode), last


def worker_command(where: Sequence[str]) -> list[str]:
    """The command line of a worker that knows the same plugins."""
    command = [sys.executable, "-m", "eos.cli.main"]
    for plugin in registry.plugin_folders():
        command += ["--plugins", str(plugin)]
    return [*command, "worker", *where]
