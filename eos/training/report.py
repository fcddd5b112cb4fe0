"""What a person sees of a running run: a bar on a terminal, plain lines elsewhere, nothing from Python."""

import math
import time
from abc import ABC, abstractmethod
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from eos.training.evaluation import Progress as Done


class AbstractReport(ABC):
    """Told what happens; shown in a ``with`` block."""

    def __enter__(self) -> "AbstractReport":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @abstractmethod
    def step(self, *, step: int, used: float, seconds: float) -> None:
        """A step was done; ``used`` is the share of the budget, ``seconds`` the training time so far."""

    @abstractmethod
    def row(self, values: dict[str, float]) -> None:
        """Training metrics were logged."""

    @abstractmethod
    def evaluating(self, split: str, done: Done) -> None:
        """An evaluation goes on."""

    @abstractmethod
    def evaluated(self, split: str, step: int, metrics: dict[str, float]) -> None:
        """An evaluation is done."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Something to be read once."""


class SilentReport(AbstractReport):
    """Shows nothing: the report of a run started from Python."""

    def step(self, *, step: int, used: float, seconds: float) -> None:
        """Nothing."""

    def row(self, values: dict[str, float]) -> None:
        """Nothing."""

    def evaluating(self, split: str, done: Done) -> None:
        """Nothing."""

    def evaluated(self, split: str, step: int, metrics: dict[str, float]) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


class LineReport(AbstractReport):
    """Plain lines, no more than one in ``pause`` seconds about training steps.

    Arguments:
        steps: the budget in steps, or None.
    """

    def __init__(self, console: Console, *, steps: int | None, pause: float = 15.0) -> None:
        self._console = console
        self._of = "" if steps is None else f"/{steps}"
        self._pause = pause
        self._latest = ""
        self._shown = time.monotonic()

    def step(self, *, step: int, used: float, seconds: float) -> None:
        """A line with the latest metrics, when the last one is old enough."""
        if time.monotonic() - self._shown >= self._pause and self._latest:
            self._shown = time.monotonic()
            self.note(f"step {step}{self._of}  {_left(used, seconds)}  {self._latest}")

    def row(self, values: dict[str, float]) -> None:
        """Kept for the next line."""
        self._latest = _training_line(values)

    def evaluating(self, split: str, done: Done) -> None:
        """A line, when the last one is old enough."""
        if time.monotonic() - self._shown >= self._pause:
            self._shown = time.monotonic()
            self.note(f"{split}: {_done(done)}")

    def evaluated(self, split: str, step: int, metrics: dict[str, float]) -> None:
        """A line."""
        self.note(f"step {step}{self._of}  {split}: {metrics_line(metrics)}")

    def note(self, text: str) -> None:
        """A line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)


class BarReport(AbstractReport):
    """A progress bar with the latest metrics; lines that stay are printed above it.

    Arguments:
        steps: the budget in steps, or None.
        pause: the bar is drawn anew after this many seconds at the soonest; drawing takes time from training.
    """

    def __init__(self, console: Console, *, steps: int | None, pause: float = 0.5) -> None:
        self._of = "" if steps is None else f"/{steps}"
        # On a narrow terminal the text is cut at its end, where it says least.
        widest = len(f"step {steps}{self._of}") if steps is not None else len("validation")
        self._pause = pause
        self._drawn = -math.inf  # the clock starts when the machine does, which may be just now
        self._latest = ""
        self._bar = Progress(
            TextColumn("{task.fields[place]}", table_column=Column(no_wrap=True, min_width=widest)),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[text]}"),
            console=console,
            auto_refresh=False,
            transient=True,
            expand=True,
        )
        self._task: TaskID = self._bar.add_task("", total=1.0, place="starting", text="")

    def __enter__(self) -> "AbstractReport":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, *, step: int, used: float, seconds: float) -> None:
        """Move the bar."""
        self._draw(used, f"step {step}{self._of}", f"{_left(used, seconds)}  {self._latest}")

    def row(self, values: dict[str, float]) -> None:
        """Shown with the next step."""
        self._latest = _training_line(values)

    def evaluating(self, split: str, done: Done) -> None:
        """Shown in place of the step."""
        self._draw(done.rows / done.of if done.of else None, split, _done(done))

    def evaluated(self, split: str, step: int, metrics: dict[str, float]) -> None:
        """A line above the bar."""
        self.note(f"step {step}{self._of}  {split}: {metrics_line(metrics)}")

    def note(self, text: str) -> None:
        """A line above the bar."""
        self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _draw(self, used: float | None, place: str, text: str) -> None:
        now = time.monotonic()
        if now - self._drawn >= self._pause:
            self._drawn = now
            self._bar.update(self._task, completed=used, place=place, text=text, refresh=True)


def report_on(console: Console | None, *, steps: int | None) -> AbstractReport:
    """The report that suits a console."""
    if console is None:
        return SilentReport()
    return (BarReport if console.is_terminal else LineReport)(console, steps=steps)


def metrics_line(metrics: dict[str, float]) -> str:
    """Metrics in one line, bits_per_byte as bits/byte; without perplexities, which say the same as nats."""
    shown = {name: value for name, value in metrics.items() if not name.startswith("perplexity")}
    return "  ".join(f"{name.replace('_per_', '/')} {value:.4g}" for name, value in shown.items())


def duration(seconds: float) -> str:
    """A time as a person says it: 48 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _done(done: Done) -> str:
    return f"{done.targets:,} targets" if done.of is None else f"{done.rows:,} of {done.of:,} rows"


def _left(used: float, seconds: float) -> str:
    """The time left, if training goes on at the speed it had."""
    return f"{duration(seconds * (1 - used) / used)} left" if used > 0 else ""


def _training_line(values: dict[str, float]) -> str:
    """The metrics without ``train/``, then speed and learning rate."""
    metrics = {name.removeprefix("train/"): value for name, value in values.items()}
    speed, rate = metrics.pop("tokens_per_second"), metrics.pop("learning_rate")
    metrics.pop("gradient_norm")
    return f"{metrics_line(metrics)}  {speed:,.0f} tokens/s  lr {rate:.2e}"
