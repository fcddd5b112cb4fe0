"""Which tiles a record gets: those that its user measured on this very GPU, else those that are shipped.

A user's own table is one JSON file that ``eos tune`` writes. It is read once, when the first record is planned for a
GPU, so that a plan stays a function of its structure as long as a process lives.
"""

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from eos.engine.structure import Structure
from eos.engine.triton.support import ALGORITHMS
from eos.engine.triton.tiles import (
    ARCHITECTURES,
    BUCKETS,
    SHIPPED,
    SIZES,
    Row,
    Scans,
    Served,
    Tiles,
    architecture_of,
    for_decays_over_value,
)
from eos.errors import TilesError

#: What each key of a row that names its records may be.
_SERVED: dict[str, tuple[str, ...] | tuple[int, ...]] = {
    "algorithm": ALGORITHMS,
    "key": BUCKETS,
    "value": BUCKETS,
    "bits": (16, 32),
    "architecture": ARCHITECTURES,
}


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row of a user's table: the tiles that were the fastest on one GPU.

    Arguments:
        gpu: its name, as the driver gives it.
        measured: the day, as 2026-01-31.
    """

    served: Served
    gpu: str
    measured: str
    tiles: Row


Table = dict[tuple[str, Served], Measured]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Tiles, and the table they come from."""

    tiles: Row
    table: str


def choose(s: Structure, algorithm: str) -> Chosen:
    """The tiles of a record on this machine's GPU, by the kernels of an algorithm.

    Raises:
        TilesError: the user's table cannot be used.
    """
    dtype = getattr(torch, s.activations.removeprefix("torch."))
    architecture = architecture_of(s.device)
    served = Served.of(algorithm, key=s.key, value=s.value, dtype=dtype, architecture=architecture)
    gpu = gpu_name() if s.device == "cuda" else None
    own = None if gpu is None else own_table().get((gpu, served))
    chosen = Chosen(tiles=SHIPPED[served], table="shipped")
    if own is not None:
        chosen = Chosen(tiles=own.tiles, table=f"yours, measured {own.measured}")
    if "value" not in s.parts or (cut := for_decays_over_value(chosen.tiles)) == chosen.tiles:
        return chosen
    return Chosen(tiles=cut, table=f"{chosen.table}, cut for decays over V")


def gpu_name() -> str | None:
    """The name of this machine's GPU; None where there is none."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def own_path() -> Path:
    """Where the user's table is, or would be: ``eos/tiles.json`` in the folder of the user's configuration."""
    named = os.environ.get("XDG_CONFIG_HOME", "")
    # a relative name counts as none, as the XDG base directory specification has it
    folder = Path(named) if os.path.isabs(named) else Path(os.path.expanduser("~"), ".config")
    return folder / "eos" / "tiles.json"


@lru_cache(maxsize=1)
def own_table() -> Table:
    """The user's table, read once in a process."""
    return read(own_path())


def read(path: Path) -> Table:
    """The rows of a table by GPU and by what they serve; none where there is no file.

    Raises:
        TilesError: the file cannot be read, is no table, or holds what no row may hold; names the file and the key.
    """
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError) as error:
        raise _wrong(path, f"cannot be read as JSON ({error})") from error
    if not isinstance(held, dict) or held.keys() != {"rows"} or not isinstance(held["rows"], list):
        raise _wrong(path, 'is not an object with the one key "rows" and a list under it')
    table: Table = {}
    for index, entry in enumerate(held["rows"]):
        row = _row(path, f"rows[{index}]", entry)
        if table.setdefault((row.gpu, row.served), row) is not row:
            raise _wrong(path, f"rows[{index}] serves what a row before it serves: {row.served} on {row.gpu}")
    return table


def written(rows: Iterable[Measured]) -> dict[str, Any]:
    """What a table's file holds, as :func:`read` takes it."""
    return {
        "rows": [
            {"gpu": row.gpu, **asdict(row.served), "measured": row.measured, "tiles": asdict(row.tiles)} for row in rows
        ]
    }


def _row(path: Path, where: str, held: Any) -> Measured:
    _expect_keys(path, where, held, ["gpu", *_SERVED, "measured", "tiles"])
    for name, allowed in _SERVED.items():
        _expect(path, f"{where}.{name}", held[name], allowed)
    gpu, measured = held["gpu"], held["measured"]
    if not isinstance(gpu, str):
        raise _wrong(path, f"{where}.gpu is {gpu!r}, not the name of a GPU")
    try:
        date.fromisoformat(measured)
    except (TypeError, ValueError) as error:
        raise _wrong(path, f"{where}.measured is {measured!r}, not a day such as 2026-01-31") from error
    kind = Scans if held["algorithm"] == "elementwise" else Tiles
    _expect_keys(path, f"{where}.tiles", held["tiles"], [field.name for field in fields(kind)])
    for name, size in held["tiles"].items():
        _expect(path, f"{where}.tiles.{name}", size, SIZES[name])
    served = Served(**{name: held[name] for name in _SERVED})
    return Measured(served=served, gpu=gpu, measured=measured, tiles=kind(**held["tiles"]))


def _expect_keys(path: Path, where: str, held: Any, names: list[str]) -> None:
    if not isinstance(held, dict):
        raise _wrong(path, f"{where} is {held!r}, not an object")
    if wrong := sorted(held.keys() ^ set(names)):
        raise _wrong(path, f"{where} lacks or does not know {', '.join(wrong)}; its keys are {', '.join(names)}")


def _expect(path: Path, where: str, held: Any, allowed: tuple[str, ...] | tuple[int, ...]) -> None:
    if type(held) is not type(allowed[0]) or held not in allowed:  # True and 16.0 equal a number and are none
        raise _wrong(path, f"{where} is {held!r}; allowed: {', '.join(map(str, allowed))}")


def _wrong(path: Path, what: str) -> TilesError:
    return TilesError(f"your table of tiles, {path}: {what}. Mend it, or delete it and measure again with eos tune.")
