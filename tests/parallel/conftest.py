from collections.abc import Iterator

import pytest

from tests.parallel.processes import Crew


@pytest.fixture(scope="session")
def four() -> Iterator[Crew]:
    """Four processes that know each other; they are begun once, for all tests that leave nothing behind in them."""
    with Crew(4) as crew:
        yield crew
