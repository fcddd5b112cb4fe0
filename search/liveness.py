"""Who of a study's workers is alive: each counts on while it lives, and the others watch whether it does.

No clock of another machine is trusted: a worker is gone when its count has not changed for a while by the watcher's own
clock, or at once when it ran on this machine and its process has ended.
"""

import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from eos.errors import EOSError
from search.study import LOST, RETRY_OF, WORKER, Study

#: Seconds between two counts, and after how many without one a worker is gone.
BEAT, GRACE = 10.0, 90.0


def worker_name() -> str:
    """Of this process: machine, number, and when it began, for numbers come again."""
    return f"{socket.gethostname()}:{os.getpid()}:{_began(os.getpid())}"


def _began(process: int) -> str:
    """When a process of this machine began, as the system counts; empty where there is none."""
    try:
        with open(f"/proc/{process}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def ended(worker: str) -> bool:
    """Whether a worker ran on this machine and its process has ended."""
    host, process, began = worker.rsplit(":", 2)
    return host == socket.gethostname() and bool(began) and _began(int(process)) != began


class Heartbeat:
    """Counts on in the study while its ``with`` block lasts, and says which trial is running.

    Arguments:
        study: a handle that no other thread uses at the same time would slow: storages may be shared by threads.
        name: of the worker.
        every: seconds between two counts.
    """

    def __init__(self, study: Study, name: str, *, every: float = BEAT) -> None:
        self._study = study
        self._name = name
        self._every = every
        self._count = 0
        self._trial: int | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        # Where the storage is gone, others will notice by the silence.
        with suppress(Exception):
            self._study.optuna.set_user_attr(WORKER + self._name, None)

    def runs(self, trial: int | None) -> None:
        """Say which trial is running."""
        self._trial = trial
        self._write()

    def _go_on(self) -> None:
        while not self._over.wait(self._every):
            # A storage that does not answer now may answer next time.
            with suppress(Exception):
                self._write()

    def _write(self) -> None:
        with self._lock:
            self._count += 1
            value = {"count": self._count, "trial": self._trial}
            self._study.optuna.set_user_attr(WORKER + self._name, value)


@dataclass
class _Seen:
    count: int
    at: float


class Watcher:
    """Finds the running trials whose worker is gone, and lets each be run once more.

    Arguments:
        study: as the watcher joined it.
        grace: seconds without a count after which a worker is gone.
    """

    def __init__(self, study: Study, *, grace: float = GRACE) -> None:
        self._study = study
        self._grace = grace
        self._seen: dict[str, _Seen] = {}
        self._unowned: dict[int, float] = {}

    def alive(self) -> dict[str, dict[str, Any]]:
        """The workers that count on, with the trial that each runs."""
        now = time.monotonic()
        workers = {
            key.removeprefix(WORKER): value
            for key, value in self._study.optuna.user_attrs.items()
            if key.startswith(WORKER) and value is not None
        }
        for name, said in workers.items():
            seen = self._seen.get(name)
            if seen is None or seen.count != said["count"]:
                self._seen[name] = _Seen(said["count"], now)
        return {
            name: said for name, said in workers.items() if now - self._seen[name].at < self._grace and not ended(name)
        }

    def rescue(self) -> list[int]:
        """Fail the trials of workers that are gone, and ask for each once more; their numbers.

        Of several watchers one alone succeeds in failing a trial, and that one asks for it again. A trial that was a
        second try already is not tried a third time.
        """
        owned = {said["trial"] for said in self.alive().values()}
        now, rescued = time.monotonic(), []
        running = [trial for trial in self._study.trials if trial.state == TrialState.RUNNING]
        for trial in running:
            if trial.number in owned:
                self._unowned.pop(trial.number, None)
                continue
            # A worker says what it runs right after it has claimed it: what nobody owns is looked at twice.
            since = self._unowned.setdefault(trial.number, now)
            if now - since >= min(self._grace, 2.0) and self._give_up(trial):
                rescued.append(trial.number)
        return rescued

    def _give_up(self, trial: FrozenTrial) -> bool:
        again = RETRY_OF not in trial.user_attrs
        try:
            if again:
                self._study.storage.set_trial_user_attr(trial._trial_id, LOST, True)
            reason = "its worker is gone" + ("; it is run once more" if again else " for the second time")
            won = self._study.fail(trial, reason)
        except (EOSError, RuntimeError):
            return False
        if won and again:
            self._study.retry(trial)
        return won
