"""How many processes torchrun has begun for one command; asked before torch is imported, too."""

import os


def begun_by_torchrun() -> int:
    """How many there are, this one among them; 1 where torchrun has begun none."""
    return int(os.environ["WORLD_SIZE"]) if "TORCHELASTIC_RUN_ID" in os.environ else 1
