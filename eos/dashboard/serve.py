"""Serves the page on this machine, and what it asks for while runs go on: four routes, none of them a path on disk."""

import datetime as dt
import hashlib
import ipaddress
import json
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

from eos.dashboard.gather import Gathered, Reader
from eos.dashboard.page import policy_header, render
from eos.errors import DataError, EOSError

#: Seconds between two looks at the folders.
EVERY = 5.0
#: Names by which a browser on this machine asks; another name would be another site's, turned to this address.
LOOPBACK = ("127.0.0.1", "localhost")
#: Pages that stand beside this one where they run: their usual port, and a path that only they answer.
BESIDE = (("TensorBoard", 6006, "/data/environment"), ("optuna-dashboard", 8080, "/api/meta"))


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is served: made once, whoever asks.

    Arguments:
        data, curves: the bodies.
        tag: changes with them.
    """

    data: bytes
    curves: bytes
    tag: str


class Board:
    """Looks at the folders again and again, and keeps what was found last.

    Arguments:
        reader: of the folders.
        links: finds pages beside this one.
    """

    def __init__(self, reader: Reader, *, links: Callable[[], list[dict[str, str]]]) -> None:
        self._reader = reader
        self._links = links
        self._stop = threading.Event()
        self._found = reader.gather(links=links())
        self.shown = _shown(self._found)

    def watch(self, *, every: float = EVERY) -> None:
        """Look until :meth:`close`; after a look that fails the page says why, and keeps what was found before."""
        trouble = None
        while not self._stop.wait(every):
            try:
                found = self._reader.gather(links=self._links())
                self.shown, self._found, trouble = _shown(found), found, None
            except Exception as error:  # noqa: BLE001 - a page that stops following without a word would be believed
                reason = str(error) if isinstance(error, EOSError | OSError) else f"{type(error).__name__}: {error}"
                since = dt.datetime.now().astimezone().strftime("%H:%M") if trouble is None else trouble["since"]
                trouble = {"since": since, "reason": reason}
                self.shown = _shown(replace(self._found, data={**self._found.data, "trouble": trouble}))

    def close(self) -> None:
        """End the watch."""
        self._stop.set()


def _shown(found: Gathered) -> Shown:
    body = json.dumps(found.data, allow_nan=False, separators=(",", ":"))
    told = json.dumps({key: value for key, value in found.data.items() if key != "made"}, sort_keys=True)
    digest = hashlib.sha256(told.encode() + found.curves).hexdigest()[:24]
    return Shown(data=body.encode(), curves=found.curves, tag=f'"{digest}"')


def beside() -> list[dict[str, str]]:
    """Links to the dashboards that run on this machine at their usual port."""
    found = []
    for name, port, path in BESIDE:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=0.3) as answer:
                json.load(answer)
        except (OSError, ValueError):
            continue
        found.append({"name": name, "url": f"http://127.0.0.1:{port}/"})
    return found


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD on four routes; whatever else is asked for is refused, and nothing is read for it."""

    board: ClassVar[Board]
    hosts: ClassVar[frozenset[str]]
    anywhere: ClassVar[bool]
    port: ClassVar[int]
    page: ClassVar[bytes]
    policy: ClassVar[str]
    server_version = "eos"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer with a body."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answer without."""
        self._answer(body=False)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a page that polls would fill the terminal."""

    def _answer(self, *, body: bool) -> None:
        if not self._is_asked(self.headers.get("Host", "")):
            self._send(HTTPStatus.FORBIDDEN, b"another host was asked for\n", "text/plain", body=body)
            return
        shown = self.board.shown
        match self.path:
            case "/":
                self._send(HTTPStatus.OK, self.page, "text/html; charset=utf-8", body=body)
            case "/health":
                self._send(HTTPStatus.OK, b"ok\n", "text/plain", body=body)
            case "/data.json":
                self._tagged(shown.data, "application/json", shown.tag, body=body)
            case "/curves.bin":
                self._tagged(shown.curves, "application/octet-stream", shown.tag, body=body)
            case _:
                self._send(HTTPStatus.NOT_FOUND, b"no such page\n", "text/plain", body=body)

    def _is_asked(self, host: str) -> bool:
        """Whether a browser asks for this server by a name that is its own; an address no other site can take."""
        name, _, port = host.rpartition(":")
        return port == str(self.port) and (name in self.hosts or (self.anywhere and _is_address(name)))

    def _tagged(self, content: bytes, kind: str, tag: str, *, body: bool) -> None:
        if self.headers.get("If-None-Match") == tag:
            self._send(HTTPStatus.NOT_MODIFIED, b"", kind, body=False, tag=tag)
        else:
            self._send(HTTPStatus.OK, content, kind, body=body, tag=tag)

    def _send(self, status: HTTPStatus, content: bytes, kind: str, *, body: bool, tag: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", self.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        if tag is not None:
            self.send_header("ETag", tag)
        self.end_headers()
        if body:
            self.wfile.write(content)


def is_local(host: str) -> bool:
    """Whether this machine alone can reach an address."""
    return host in LOOPBACK


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def make_server(board: Board, *, host: str, port: int) -> ThreadingHTTPServer:
    """A server of the page.

    Arguments:
        host: the address to listen at; 0.0.0.0 for all of this machine's, by which and by whose name others may ask.
        port: 0 takes a free one.

    Raises:
        DataError: the port is taken, or the address is not this machine's.
    """

    class Bound(Handler):
        """The handler of this board."""

    try:
        server = ThreadingHTTPServer((host, port), Bound)
    except OSError as error:
        raise DataError(f"cannot listen at {host}:{port} ({error.strerror}): choose another with --port") from error
    server.daemon_threads = True
    Bound.port = server.server_address[1]
    Bound.board = board
    Bound.anywhere = not is_local(host)
    Bound.hosts = frozenset((*LOOPBACK, host, *((socket.gethostname(), socket.getfqdn()) if Bound.anywhere else ())))
    Bound.policy = policy_header()
    Bound.page = render({}, b"", live=True).encode()
    return server


def serve(board: Board, server: ThreadingHTTPServer, *, ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve until the process is interrupted."""
    address = server.server_address
    ready(f"http://{address[0]!s}:{address[1]}/")
    watcher = threading.Thread(target=board.watch, daemon=True)
    watcher.start()
    try:
        server.serve_forever()
    finally:
        board.close()
        server.server_close()
