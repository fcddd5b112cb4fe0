"""Runs what a sweep still lacks: every combination in a process of its own, several at once."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from eos.training.folder import locked
from eos.training.stopping import StoppedAtOnce, StopRequest
from eos.training.sweep import Cell, Point, Status, Sweep, read_sweep, write_sweep
from eos.training.sweep_scores import outcome, scores
from eos.training.sweep_time import Prediction, threads_of_each


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A combination that begins or ends.

    Arguments:
        cell: which.
        status: running where it begins, else how it ended.
        done: how many have finished or failed.
        of: how many there are to train.
        left: seconds until all are done, or None where that cannot be told.
    """

    cell: Cell
    status: Status
    done: int
    of: int
    left: float | None


def states(sweep: Sweep, path: Path, recorded: dict[str, Point]) -> dict[str, Point]:
    """How far each combination to train is, by folder, from its own folder and from what the sweep saw last."""
    return {cell.folder: _state(path / cell.folder, recorded.get(cell.folder)) for cell in sweep.cells()}


def _state(folder: Path, recorded: Point | None) -> Point:
    point = recorded or Point(status="waiting")
    if not folder.exists():
        # It may have failed before it had a folder.
        return replace(point, status="failed" if point.status == "failed" else "waiting")
    found = outcome(folder).status
    if found == "finished":
        return replace(point, status="finished")
    # One that was told to stop before it went on from its failure is no failure again.
    return replace(point, status="failed" if found == "failed" and point.status != "stopped" else "stopped")


def to_do(points: dict[str, Point], *, retry: bool) -> list[str]:
    """The folders of what is to be trained, in order."""
    wanted = ("waiting", "stopped", "failed") if retry else ("waiting", "stopped")
    return [folder for folder, point in points.items() if point.status in wanted]


def run_sweep(
    sweep: Sweep,
    path: Path,
    *,
    jobs: int,
    retry: bool,
    plugins: Sequence[Path],
    prediction: Prediction,
    each: Callable[[Progress], None],
) -> int | None:
    """Train what has not finished; write what came of all.

    Arguments:
        jobs: processes at once, ≥ 1; with several, each has its share of the cores and writes to a log of its own.
        retry: also what has failed.
        plugins: folders that the processes are to know.
        prediction: of every combination.
        each: told of every combination when it begins and when it ends.

    Returns:
        The number of the signal that stopped it, or None. The first lets every process finish its step and save.

    Raises:
        RunError: another process is at this sweep.
        StoppedAtOnce: a second signal came; every process was told to end at once.
    """
    with locked(path):
        points = states(sweep, path, read_sweep(path)[1])
        cells = {cell.folder: cell for cell in sweep.cells()}
        waiting = to_do(points, retry=retry)
        running: dict[Future[int], str] = {}
        processes: dict[str, subprocess.Popen[bytes]] = {}
        begun: dict[str, float] = {}

        def note(folder: str, status: Status, *, seconds: float = 0.0) -> None:
            points[folder] = replace(points[folder], status=status, seconds=points[folder].seconds + seconds)
            write_sweep(sweep, path, points)
            now = time.monotonic()
            elapsed = {folder: now - begun[folder] for folder in running.values()}
            left = prediction.left(points, waiting=waiting, running=elapsed, jobs=jobs)
            ends = [other for other, point in points.items() if point.status in ("finished", "failed")]
            done = len([other for other in ends if other not in waiting])
            each(Progress(cell=cells[folder], status=status, done=done, of=len(points), left=left))

        with StopRequest() as stop, ThreadPoolExecutor(jobs) as pool:
            told = False
            try:
                while True:
                    while stop.signal is None and len(running) < jobs and waiting:
                        folder = waiting.pop(0)
                        processes[folder] = _start(cells[folder], path, seeds=sweep.seeds, jobs=jobs, plugins=plugins)
                        begun[folder] = time.monotonic()
                        running[pool.submit(processes[folder].wait)] = folder
                        note(folder, "running")
                    if not running:
                        break
                    ended, _ = wait(running, timeout=0.2, return_when=FIRST_COMPLETED)
                    for future in ended:
                        folder = running.pop(future)
                        del processes[folder]
                        status = _ended(path / folder, stopped=stop.signal is not None)
                        note(folder, status, seconds=time.monotonic() - begun[folder])
                    if stop.signal is not None and not told:
                        told = True
                        _tell(processes.values(), stop.signal)
            except StoppedAtOnce as stopped:
                _tell(processes.values(), stopped.signal)
                raise
            finally:
                write_sweep(sweep, path, points, scores(sweep, path))
    return stop.signal


def _ended(folder: Path, *, stopped: bool) -> Status:
    found = outcome(folder).status
    if found == "finished":
        return "finished"
    # A process that was told to stop before it had a folder has lost nothing.
    return "failed" if found == "failed" and not stopped else "stopped"


def _tell(processes: Iterable["subprocess.Popen[bytes]"], signal: int) -> None:
    """They stand outside of the terminal's process group, so that each is told once."""
    for process in processes:
        with suppress(ProcessLookupError):
            process.send_signal(signal)


def _start(
    cell: Cell, path: Path, *, seeds: list[int] | None, jobs: int, plugins: Sequence[Path]
) -> "subprocess.Popen[bytes]":
    folder = path / cell.folder
    command = [sys.executable, "-m", "eos.cli.main", "train"]
    for plugin in plugins:
        command += ["--plugins", str(plugin)]
    if folder.exists():
        command += [f"run={folder}", "resume=true"]
    else:
        folder.parent.mkdir(parents=True, exist_ok=True)
        command += [*cell.overrides, f"run={folder}"]
        command += [] if seeds is None else [f"seeds=[{','.join(map(str, seeds))}]"]
    environment = dict(os.environ)
    if (threads := threads_of_each(jobs)) is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    with log_of(folder).open("ab") as log:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log if jobs > 1 else None,
            start_new_session=True,
        )


def log_of(folder: Path) -> Path:
    """Where the process of a combination writes."""
    return folder.with_name(f"{folder.name}.log")
