"""One sequence over several processes: what comes from the parts before a process's own."""

from eos.parallel.group import SequenceGroup, current, over
from eos.parallel.scan import continued
from eos.parallel.seam import before, refuse_later, tail_before

__all__ = ["SequenceGroup", "before", "continued", "current", "over", "refuse_later", "tail_before"]
