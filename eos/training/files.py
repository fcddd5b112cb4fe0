"""Files that are either the old or the new one, whatever happens while they are written."""

import errno
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from eos.errors import RunError

TEMPORARY = ".partial"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` to write to, a file or a folder; on leaving it is made durable and takes the
    place of ``path``, where no folder may be.

    Raises:
        RunError: the disk is full; ``path`` is as it was.
    """
    temporary = path.with_name(path.name + TEMPORARY)
    try:
        with disk_full_named(path):
            yield temporary
            _synchronise(temporary)
            os.replace(temporary, path)
            _synchronise(path.parent)
    finally:
        discard(temporary)


@contextmanager
def disk_full_named(path: Path) -> Iterator[None]:
    """Turn "no space left" into one sentence that names ``path``, however deep in a writer it arose."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise RunError(
                f"the disk is full: {path} could not be written; what was saved before is intact. "
                f"Free some space, then go on with resume=true."
            ) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text``."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Replace ``path`` by ``value`` as JSON that any reader takes: numbers that are not finite are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def json_numbers(value: Any) -> Any:
    """The value with None in the place of numbers that JSON cannot hold, wherever they stand."""
    if isinstance(value, dict):
        return {key: json_numbers(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [json_numbers(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_json(path: Path) -> Any:
    """The value in ``path``.

    Raises:
        RunError: it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RunError(f"{path} is not JSON ({error})") from error


def discard(path: Path) -> None:
    """Delete a file, or a folder with all that is in it, where there is one."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_disk_full(error: BaseException) -> bool:
    """Whether "no space left" lies behind an error.

    Libraries wrap the system's error or only quote it: torch's zip writer does the one, safetensors the other.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if os.strerror(errno.ENOSPC) in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
