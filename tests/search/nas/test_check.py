"""How the orders of networks agree."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from eos.errors import RunError
from search.nas.check import agreement


def test_an_agreement_has_an_interval_that_narrows_with_networks() -> None:
    draw = np.random.default_rng(0)
    widths = []
    for count in (12, 200):
        truth = draw.normal(size=count)
        values = truth + draw.normal(size=count)
        found = agreement(values, truth, seed=1)
        assert found.tau == pytest.approx(kendalltau(values, truth).statistic)
        assert found.low < found.tau < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 2
    assert agreement([1, 2, 3], [4, 5, 6], seed=1).tau == 1
    with pytest.raises(RunError, match="2 networks have no order"):
        agreement([1, 2], [1, 2], seed=1)
