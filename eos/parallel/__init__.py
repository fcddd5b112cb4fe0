"""One sequence over several processes: what comes from the parts beside a process's own."""

from eos.parallel.exchange import gathered
from eos.parallel.group import SequenceGroup, current, from_the_end, over
from eos.parallel.scan import continued
from eos.parallel.seam import before, tail_before, whole

__all__ = [
    "SequenceGroup",
    "before",
    "continued",
    "current",
    "from_the_end",
    "gathered",
    "over",
    "tail_before",
    "whole",
]
