"""The processes that share a sequence, each with an equal part of its tokens in the order of their ranks.

Layers ask for the group that they run in: whatever carries over time in them (memories, short convolutions, token
shifts, keys and values) then goes on from the part before, as in decoding it goes on from the cache.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace

import torch.distributed as dist

from eos.config import Form

# of the process and not of a thread: a gradient may be found in another one than its value
_current: "SequenceGroup | None" = None


@dataclass(frozen=True, kw_only=True, eq=False)
class SequenceGroup:
    """Processes with a part of the sequence each.

    Arguments:
        processes: the group; None: all processes.
        form: ring: memories pass from rank to rank, as soon as each has come; gather: every rank gets what every
            part does to a memory, and composes it.
        turned: the last process has the first part, as where a sequence is read from its end.
        sent: bytes that this process sent, by what they were and in which pass: ("memory", "forward").
    """

    processes: dist.ProcessGroup | None = None
    form: Form = "ring"
    turned: bool = False
    sent: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def rank(self) -> int:
        """The place of this process's part."""
        return self.process(dist.get_rank(self.processes))

    @property
    def size(self) -> int:
        """How many parts there are."""
        return dist.get_world_size(self.processes)

    def process(self, rank: int) -> int:
        """The process in the group that has the part at a rank; and the rank of a process."""
        return self.size - 1 - rank if self.turned else rank

    def from_the_end(self) -> "SequenceGroup":
        """The same processes with their parts in the opposite order, counted together."""
        return replace(self, turned=not self.turned)


def current() -> SequenceGroup | None:
    """The group whose parts are being computed; None: the sequence is whole."""
    return _current


def from_the_end() -> AbstractContextManager[None]:
    """What runs inside has its part of the sequence turned, and reads the parts from the last to the first."""
    return over(None if _current is None else _current.from_the_end())


@contextmanager
def over(group: SequenceGroup | None) -> Iterator[None]:
    """What runs inside has a part of a sequence each; with None, or one process, the sequence is whole."""
    global _current
    before, _current = _current, group if group is not None and group.size > 1 else None
    try:
        yield
    finally:
        _current = before
