"""What every test of the engine runs under."""

import pytest


@pytest.fixture(autouse=True)
def _small(one_thread: None) -> None:
    """Their tensors are tiny."""
