"""Maps of recall: metrics that stand for two numbers each, a length and a number of pairs or a depth."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from eos.tasks.grading import PLACE

_KINDS = {"x": ("pairs", "key-value pairs"), "_depth_": ("depth", "depth (%)")}


def recall_maps(cell: int, runs: Sequence[Mapping[str, float | None]], key_size: Any) -> list[dict[str, Any]]:
    """The maps of one cell, the means over its runs; none where its task tells of none.

    Arguments:
        runs: final metrics of each.
        key_size: K of its memory.
    """
    found: dict[tuple[str, str], dict[tuple[int, int], list[float]]] = defaultdict(lambda: defaultdict(list))
    for metrics in runs:
        for name, value in metrics.items():
            part, _, metric = name.partition("/")
            place = PLACE.fullmatch(metric)
            if place is not None and value is not None:
                found[part, place["between"]][int(place["row"]), int(place["column"])].append(value)
    maps = []
    for (part, between), held in sorted(found.items()):
        rows, columns = (sorted({place[axis] for place in held}) for axis in (0, 1))
        kind, column_name = _KINDS[between]
        values = [[fmean(held[row, column]) if (row, column) in held else None for column in columns] for row in rows]
        maps.append(
            {
                "cell": cell,
                "part": part,
                "kind": kind,
                "rows": rows,
                "columns": columns,
                "row_name": "length (tokens)",
                "column_name": column_name,
                "values": values,
                "n": max(map(len, held.values())),
                "key_size": key_size if isinstance(key_size, int) else None,
            }
        )
    return maps
