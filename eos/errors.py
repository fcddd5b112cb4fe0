"""The one family of errors, and the one sentence for an unknown name."""

from collections.abc import Iterable
from difflib import get_close_matches


class EOSError(Exception):
    """Anything a user can cause: the message says what was got, what is allowed and what to do."""


class RecordError(EOSError, ValueError):
    """A record, or a product of transitions, that has no meaning: wrong shape, dtype or combination."""


class PlanError(EOSError, ValueError):
    """An algorithm or backend that was asked for and cannot run this record."""


class TilesError(EOSError, ValueError):
    """A table of tile sizes that cannot be used, or tiles that cannot be measured here."""


class RecipeError(EOSError, ValueError):
    """A recipe or an override that names something unknown or holds a value out of range."""


class CompositionError(RecipeError):
    """Stages that are each valid and make no sense together."""


class DataError(EOSError, ValueError):
    """A text, file or dataset that cannot be used."""


class RunError(EOSError, RuntimeError):
    """A run folder, checkpoint or weight file that cannot be used."""


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The sentence for an unknown name: the nearest right ones first, then all of them."""
    names = sorted(known)
    nearest = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(repr(n) for n in nearest)}?" if nearest else ""
    return f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or '(none)'}."


def install(extra: str) -> str:
    """How an extra of the project is installed, for the end of an error."""
    return f"in the project's folder, pip install -c constraints.txt '.[{extra}]'"
