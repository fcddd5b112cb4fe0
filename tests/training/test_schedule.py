import math
from pathlib import Path

import pytest

from eos.training.config import Schedule, TrainingOptions
from eos.training.schedule import factor, share_used
from tests.training.fakes import TinyModel, fit_in, training_options

# One float64 operation or two apart.
EXACT = 1e-12


@pytest.mark.parametrize("schedule", ["cosine", "inverse_sqrt", "constant"])
@pytest.mark.parametrize("warmup", [0.1, 0.25])
def test_warmup_is_linear_and_reaches_the_peak(schedule: Schedule, warmup: float) -> None:
    steps = 200
    rates = [factor(schedule, (step + 1) / steps, warmup=warmup, final=0.1) for step in range(steps)]
    last = round(warmup * steps)
    for step in range(last):
        assert rates[step] == pytest.approx((step + 1) / last, abs=EXACT)
    assert max(rates) == pytest.approx(1.0, abs=EXACT)
    assert rates[last - 1] == pytest.approx(1.0, abs=EXACT)


@pytest.mark.parametrize(("warmup", "final"), [(0.0, 0.0), (0.1, 0.1), (0.5, 0.0)])
def test_cosine_falls_by_its_closed_form_to_the_final_share(warmup: float, final: float) -> None:
    for used in (warmup, 0.6, 0.75, 1.0):
        share = (used - warmup) / (1 - warmup)
        expected = final + (1 - final) * math.cos(math.pi * share / 2) ** 2
        assert factor("cosine", used, warmup=warmup, final=final) == pytest.approx(expected, abs=EXACT)
    assert factor("cosine", 1.0, warmup=warmup, final=final) == pytest.approx(final, abs=EXACT)


def test_inverse_sqrt_is_the_root_of_warmup_steps_over_steps() -> None:
    steps, warm = 1000, 40
    for step in (40, 41, 100, 999, 1000):
        got = factor("inverse_sqrt", step / steps, warmup=warm / steps, final=0.0)
        assert got == pytest.approx((warm / step) ** 0.5, abs=EXACT)
    assert factor("inverse_sqrt", 1.0, warmup=0.01, final=0.3) == 0.3


def test_constant_stays_at_the_peak() -> None:
    assert {factor("constant", used, warmup=0.2, final=0.0) for used in (0.2, 0.5, 1.0)} == {1.0}


def test_share_used_is_the_larger_of_steps_and_time() -> None:
    both = TrainingOptions(steps=100, minutes=2.0)
    assert share_used(both, steps=100, step=49, seconds=0.0) == 0.5
    assert share_used(both, steps=100, step=0, seconds=90.0) == 0.75
    assert share_used(both, steps=100, step=99, seconds=0.0) == 1.0
    assert share_used(both, steps=100, step=10, seconds=500.0) == 1.0
    assert share_used(TrainingOptions(minutes=2.0), steps=None, step=10**6, seconds=30.0) == 0.25


def test_last_step_trains_at_the_final_rate(tmp_path: Path) -> None:
    options = training_options(steps=10, final=0.25, warmup=0.2)
    module = fit_in(tmp_path / "run", TinyModel(), options)
    assert module.learning_rate == pytest.approx(0.25 * options.learning_rate, rel=EXACT)


def test_time_budget_ends_training_with_the_schedule_complete(tmp_path: Path) -> None:
    options = training_options(steps=None, minutes=1.5 / 60, final=0.0, validate_every=None, checkpoint_every=10**6)
    module = fit_in(tmp_path / "run", TinyModel(), options)
    assert 1.5 <= module.state.seconds < 3.0
    assert module.learning_rate < 0.01 * options.learning_rate
