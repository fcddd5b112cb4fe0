"""Where a study is kept: a journal file, SQLite, PostgreSQL or MySQL by URL, or a proxy of one of them."""

import os
import re
import time
import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, BinaryIO

from optuna.exceptions import ExperimentalWarning, OptunaError, StorageInternalError
from optuna.storages import BaseStorage, GrpcStorageProxy, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError, SQLAlchemyError

from eos.errors import EOSError, install

#: Seconds that a writer waits for another one to leave a SQLite file, and a worker for a proxy.
PATIENCE, PATIENCE_OF_PROXY = 60, 10
#: Seconds that a worker waits for a server that restarts.
PATIENCE_OF_SERVER = 120


class StudyError(EOSError, RuntimeError):
    """A study or a storage that cannot be used."""


def open_storage(url: str) -> BaseStorage:
    """The storage of a URL.

    Arguments:
        url: a path that ends with .log or .journal (a journal file), ``sqlite:///PATH``, ``postgresql://…`` or
            ``mysql://…``, or ``grpc://HOST:PORT`` (what ``eos search serve`` shows).

    Raises:
        StudyError: nobody answers there, the file is no storage, or a newer version has written it.
    """
    try:
        if (proxy := re.fullmatch(r"grpc://([\w.-]+):(\d+)", url)) is not None:
            with warnings.catch_warnings():
                # Chosen knowing that it may change.
                warnings.simplefilter("ignore", ExperimentalWarning)
                storage = GrpcStorageProxy(host=proxy[1], port=int(proxy[2]))
            storage.wait_server_ready(timeout=PATIENCE_OF_PROXY)
            return storage
        if "://" not in url:
            path = Path(url)
            path.parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(_Journal(path))
        if url.startswith("sqlite"):
            return RDBStorage(url, engine_kwargs={"connect_args": {"timeout": PATIENCE}})
        return _Server(_with_driver(url), engine_kwargs={"pool_pre_ping": True})
    except Exception as error:
        raise StudyError(f"the storage {without_password(url)} cannot be used: {_reason(error)}") from error


class _Server(RDBStorage):
    """The database of a server, which is waited for while it restarts: nothing that a trial found is lost by that."""


def _waited(method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, tried again while the server does not answer."""

    @wraps(method)
    def tried(storage: _Server, *arguments: Any, **keywords: Any) -> Any:
        until = time.monotonic() + PATIENCE_OF_SERVER
        while True:
            try:
                return method(storage, *arguments, **keywords)
            except (StorageInternalError, SQLAlchemyError) as error:
                if not _unanswered(error):
                    raise
                if time.monotonic() > until:
                    raise StudyError(
                        f"the storage has not answered for {PATIENCE_OF_SERVER} s "
                        f"({_reason(error.__cause__ or error)}); trials that have finished are kept: once it answers, "
                        "the same command goes on"
                    ) from error
                storage.scoped_session.remove()  # its connection is gone
                time.sleep(1)

    return tried


#: What the cache that Optuna puts before a database asks of it, beside the methods of every storage.
_OF_CACHE = ("_create_new_trial", "_get_best_trial_id", "_get_stale_trial_ids", "_get_trials", "_set_trial_param")
for _name in (*(name for name in vars(BaseStorage) if not name.startswith("_")), *_OF_CACHE):
    setattr(_Server, _name, _waited(getattr(RDBStorage, _name)))


def _unanswered(error: BaseException | None) -> bool:
    """Whether a lost connection, or a server that takes none, lies behind an error."""
    while error is not None:
        if isinstance(error, OperationalError | InterfaceError | PendingRollbackError):
            return True
        error = error.__cause__
    return False


class _Journal(JournalFileBackend):
    """A journal that says why it cannot be written."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), lock_obj=_MendingLock(str(path)))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, or say that nothing before them is lost."""
        try:
            super().append_logs(logs)
        except OSError as error:
            raise StudyError(
                f"{self._file_path} cannot be written: {error.strerror}. What stood in it is kept: once it can be "
                "written, the same command goes on"
            ) from error


class _MendingLock(JournalFileSymlinkLock):
    """Whoever may write next cuts off what a killed process, or a full disk, has left of a line.

    Without that the next line would be appended to it, and no line after it could be read.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = path

    def acquire(self) -> bool:
        """Wait for the lock, then mend the end of the file."""
        acquired = super().acquire()
        with open(self._path, "r+b") as journal:
            end = whole = journal.seek(0, os.SEEK_END)
            while whole and _byte(journal, whole - 1) != b"\n":
                whole -= 1
            if whole < end:
                journal.truncate(whole)
        return acquired


def _byte(file: BinaryIO, place: int) -> bytes:
    file.seek(place)
    return file.read(1)


def _with_driver(url: str) -> str:
    """PostgreSQL by psycopg and MySQL by PyMySQL, unless the URL names a driver."""
    for plain, driven in (("postgresql://", "postgresql+psycopg://"), ("mysql://", "mysql+pymysql://")):
        if url.startswith(plain):
            return driven + url.removeprefix(plain)
    return url


def without_password(url: str) -> str:
    """The URL as it may be shown."""
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:…@", url)


def _reason(error: BaseException) -> str:
    """In a line, with what to do where it is known."""
    text = " ".join(str(error).split()).partition("(Background on this error")[0].strip()
    if "Can't load plugin" in text:
        return "give a path that ends with .log, sqlite:///PATH, postgresql://…, mysql://… or grpc://HOST:PORT"
    if isinstance(error, ImportError):
        return f"its driver is not installed; {install('storage')}"
    if "timed out" in text or "timeout" in text:
        return "nobody answers; is it running, and is the port right?"
    if "optuna storage upgrade" in text or "runtime optuna version" in text.lower():
        return f"it was written by another version of Optuna ({text[:200]})"
    if "could not translate host" in text or "refused" in text.lower():
        return f"nobody answers ({text[:160]})"
    kind = "" if isinstance(error, OptunaError) else f"{type(error).__name__}: "
    return f"{kind}{text[:300]}"
