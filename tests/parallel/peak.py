"""How much memory a process holds while something is done."""

import resource
import threading
import time
from pathlib import Path


class Peak:
    """The most memory that this process holds inside, above what it holds at the start."""

    def __enter__(self) -> "Peak":
        self._before = self._most = _resident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def forget(self) -> None:
        """Only what is held from now on counts."""
        self._most = _resident()

    @property
    def bytes(self) -> int:
        return self._most - self._before

    def _watch(self) -> None:
        while not self._over.is_set():
            self._most = max(self._most, _resident())
            time.sleep(0.002)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
