import io
import time

import pytest
from rich.console import Console

from eos.training.report import BarReport, LineReport, SilentReport, duration, report_on

ROW = {
    "train/bits_per_byte": 1.75,
    "train/nats_per_token": 1.213,
    "train/perplexity_per_word": 1e6,
    "train/learning_rate": 4e-3,
    "train/gradient_norm": 0.5,
    "train/tokens_per_second": 123456.0,
}


@pytest.fixture(autouse=True)
def _terminal_that_redraws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever terminal the tests run in."""
    monkeypatch.setenv("TERM", "xterm")


def console(*, terminal: bool, width: int = 80) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)


def shown(on: Console) -> str:
    assert isinstance(on.file, io.StringIO)
    return on.file.getvalue()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (7499, "2 h 04 min"),
    ],
)
def test_duration_is_said_as_people_do(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_report_suits_the_console() -> None:
    assert isinstance(report_on(None, steps=1), SilentReport)
    assert isinstance(report_on(console(terminal=False), steps=1), LineReport)
    assert isinstance(report_on(console(terminal=True), steps=1), BarReport)


def test_lines_come_no_faster_than_the_pause() -> None:
    on = console(terminal=False)
    with LineReport(on, steps=100, pause=3600.0) as report:
        report.row(ROW)
        for step in range(1, 100):
            report.step(step=step, used=step / 100, seconds=float(step))
        report.evaluated("validation", 99, {"bits_per_byte": 1.5, "perplexity_per_word": 3.0})
    assert shown(on) == "step 99/100  validation: bits/byte 1.5\n"


def test_line_holds_step_time_left_metrics_speed_and_rate_without_colours() -> None:
    on = console(terminal=False)
    with LineReport(on, steps=None, pause=0.0) as report:
        report.row(ROW)
        report.step(step=50, used=0.25, seconds=30.0)
    assert shown(on) == "step 50  1 min 30 s left  bits/byte 1.75  nats/token 1.213  123,456 tokens/s  lr 4.00e-03\n"


def test_bar_fits_a_narrow_terminal() -> None:
    on = console(terminal=True, width=80)
    with BarReport(on, steps=20000, pause=0.0) as report:
        report.row(ROW)
        report.step(step=10000, used=0.5, seconds=3000.0)
    drawn = shown(on)
    for part in ("step 10000/20000", "50 min 00 s left", "bits/byte 1.75", "nats/token 1.213"):
        assert part in drawn


def test_first_step_is_drawn_on_a_machine_that_just_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 3.0)
    on = console(terminal=True)
    with BarReport(on, steps=100, pause=5.0) as report:
        report.step(step=1, used=0.01, seconds=1.0)
    assert "step 1/100" in shown(on)


def test_bar_is_drawn_no_faster_than_its_pause() -> None:
    on = console(terminal=True)
    with BarReport(on, steps=100, pause=3600.0) as report:
        for step in range(1, 100):
            report.step(step=step, used=step / 100, seconds=float(step))
    assert "step 1/100" in shown(on)
    assert "step 2/100" not in shown(on)
