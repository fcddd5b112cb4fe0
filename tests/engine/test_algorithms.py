"""Every algorithm that a record's plan does not refuse equals the sequential form, in every output and gradient."""

from collections.abc import Iterator

import pytest

from tests.compare import assert_close, outcome
from tests.engine.runners import LENGTHS, RUNNERS, reference, runnable
from tests.records import CASES, build
from tests.tolerances import EXACT


def combinations() -> Iterator[tuple[str, str, str, int]]:
    """Every record with every algorithm and sizes: all at T = 1, and each at one of two lengths that go round."""
    for turn, (name, case) in enumerate(CASES.items()):
        record = build(case, length=2)
        lengths = (LENGTHS[1 + turn % 7], LENGTHS[1 + (turn + 3) % 7])
        for shift, algorithm in enumerate(runnable(record)):
            yield name, algorithm, "planned", 1
            for index, sizes in enumerate(RUNNERS[algorithm]):
                yield name, algorithm, sizes, lengths[(index + shift) % 2]


@pytest.mark.parametrize(("name", "algorithm", "sizes", "length"), sorted(combinations(), key=lambda c: (c[0], c[3])))
def test_algorithm_equals_sequential(name: str, algorithm: str, sizes: str, length: int) -> None:
    record, want = reference(name, length)
    assert_close(outcome(record, RUNNERS[algorithm][sizes]), want, EXACT)
