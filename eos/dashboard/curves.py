"""The curves of all runs and cells, packed: as many of them, and as finely, as a page has room for."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from eos.dashboard.log import Curve
from eos.dashboard.pack import Packer
from eos.dashboard.run import Run
from eos.dashboard.thin import POINTS, band, bucket_count, thin

#: Bytes of all curves before they are compressed; noise is some 60 % of that in a page, which is to stay below 15 MB.
ROOM = 12_000_000
#: Bytes of a number.
_WORD = 4
#: Fewer points than this are no curve.
_FEWEST = 20


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What there is room for.

    Arguments:
        tags: of the curves that are kept.
        left_out: tags of those that are not.
        points: of a curve, at most.
    """

    tags: frozenset[str]
    left_out: list[str]
    points: int


def fit(runs: Sequence[Run], *, room: int = ROOM) -> Fit:
    """The curves that fit: losses first, then the key metric, what else is validated, tests, and the rest by name.

    Losses are always kept; where even they have no room, every curve gets fewer points.
    """
    keys = {f"validation/{(run.result.get('standard') or {}).get('metric')}" for run in runs}
    tags = sorted({tag for run in runs for tag in run.log.curves}, key=lambda tag: (_rank(tag, keys), tag))
    losses = [tag for tag in tags if _rank(tag, keys) == 0]
    points, sizes = POINTS, _sizes(runs, POINTS)
    while points > _FEWEST and sum(sizes[tag] for tag in losses) > room:
        points //= 2
        sizes = _sizes(runs, points)
    kept, left = list(losses), room - sum(sizes[tag] for tag in losses)
    for tag in tags[len(losses) :]:
        if sizes[tag] <= left:
            kept.append(tag)
            left -= sizes[tag]
    return Fit(tags=frozenset(kept), left_out=[tag for tag in tags if tag not in kept], points=points)


def pack(members: Sequence[Sequence[int]], runs: Sequence[Run], held: Fit, packer: Packer) -> Iterator[dict[str, Any]]:
    """Where the curves stand that are kept: those of runs, then the mean over them, cell by cell.

    Arguments:
        members: the runs of each cell.
    """
    for index, cell in enumerate(members):
        tags: dict[str, list[Curve]] = {}
        once = _each_seed_once(cell, runs)
        for run in cell:
            for tag, curve in runs[run].log.curves.items():
                if tag not in held.tags:
                    continue
                if run in once:
                    tags.setdefault(tag, []).append(curve)
                thinned = thin(curve, points=held.points)
                yield {
                    "run": run,
                    "tag": tag,
                    "count": len(curve.steps),
                    "points": len(thinned.steps),
                    "buckets": len(thinned.mean_steps),
                    "gaps": thinned.gaps,
                    "offset": packer.thinned(thinned),
                }
        for tag, curves in tags.items():
            if len(curves) > 1 and (mean := band(curves, points=held.points)) is not None:
                yield {
                    "cell": index,
                    "tag": tag,
                    "points": len(mean.steps),
                    "n": mean.runs,
                    "offset": packer.band(mean),
                }


def _each_seed_once(cell: Sequence[int], runs: Sequence[Run]) -> set[int]:
    """One run of every seed, a finished one where there is any: two of one seed are one replicate."""
    chosen: dict[object, int] = {}
    for run in sorted(cell, key=lambda run: runs[run].status != "ok"):
        chosen.setdefault(runs[run].recipe["training"].get("seed"), run)
    return set(chosen.values())


def _rank(tag: str, keys: set[str]) -> int:
    if re.match(r"train/(loss|nats|bits)", tag):
        return 0
    if tag in keys:
        return 1
    return {"validation": 2, "test": 3}.get(tag.partition("/")[0], 4)


def _sizes(runs: Sequence[Run], points: int) -> Counter[str]:
    """Bytes of the curves of each tag, those of cells left aside."""
    sizes = Counter[str]()
    for run in runs:
        for tag, curve in run.log.curves.items():
            count = len(curve.steps)
            words = 5 * count if count <= points else 2 * points + 3 * bucket_count(points)
            sizes[tag] += _WORD * words
    return sizes
