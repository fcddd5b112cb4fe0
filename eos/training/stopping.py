"""Stopping on demand: the first signal lets the step finish and be saved, the second ends the run at once."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from eos.training.torchrun import begun_by_torchrun
from eos.training.world import ALONE, World

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class EvaluationAbandoned(Exception):
    """Raised from inside an evaluation when a stop was asked for; the run that asked catches it."""


class RunAbandoned(Exception):
    """Raised by who watches a run's validations: the run is not worth going on with."""


class StoppedAtOnce(BaseException):
    """A second signal. No Exception, so that nothing between the handler and the command catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"stopped at once by signal {number}")
        self.signal = number


class StopRequest:
    """Catches SIGINT and SIGTERM inside its ``with`` block; outside of the main thread it catches nothing.

    ``signal`` is the number of the first signal that came, or None.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "StopRequest":
        self._before = {number: signal.getsignal(number) for number in SIGNALS}
        self.listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _in_main_thread():
            for number, handler in self._before.items():
                signal.signal(number, handler)

    def listen(self) -> None:
        """Take the handlers, also from a library that has put its own there."""
        if _in_main_thread():
            for number in SIGNALS:
                signal.signal(number, self._receive)

    def agree(self, world: World) -> None:
        """Of several processes, all have the signal that any of them has; to be called by all at once."""
        # what comes meanwhile stays
        self.signal = world.maximum(self.signal or 0) or self.signal

    def abandon_evaluation(self, world: World = ALONE) -> None:
        """To be called by an evaluation before each batch, by all processes at once.

        Raises:
            EvaluationAbandoned: a stop was asked for.
        """
        self.agree(world)
        if self.signal is not None:
            raise EvaluationAbandoned

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is None:
            self.signal = number
        elif begun_by_torchrun() == 1:
            # torchrun hands on what a scheduler has sent already, and kills by itself what does not end
            raise StoppedAtOnce(number)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
