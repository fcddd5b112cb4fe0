"""The server: four routes, this machine alone, and nothing read for whatever else is asked."""

import gzip
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from eos.dashboard import serve
from eos.dashboard.gather import Reader
from eos.dashboard.serve import Board, make_server
from eos.errors import DataError
from tests.dashboard.folders import write_run


@pytest.fixture
def board(tmp_path: Path) -> Board:
    write_run(tmp_path / "runs" / "a")
    return Board(Reader([tmp_path / "runs"], command="eos dashboard"), links=list)


@pytest.fixture
def server(board: Board) -> Iterator[ThreadingHTTPServer]:
    made = make_server(board, host="127.0.0.1", port=0)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def ask(
    server: ThreadingHTTPServer, path: str, *, method: str = "GET", host: str | None = None, tag: str | None = None
) -> tuple[http.client.HTTPResponse, bytes]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", f"127.0.0.1:{port}" if host is None else host)
    if tag is not None:
        connection.putheader("If-None-Match", tag)
    connection.endheaders()
    answer = connection.getresponse()
    return answer, answer.read()


def test_four_routes_answer(server: ThreadingHTTPServer) -> None:
    page, text = ask(server, "/")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"data-live" in text
    policy = page.headers["Content-Security-Policy"]
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    data, body = ask(server, "/data.json")
    assert json.loads(body)["runs"][0]["metrics"] == {"test/accuracy": 0.5}
    assert data.headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in data.headers
    assert gzip.decompress(ask(server, "/curves.bin")[1])
    assert ask(server, "/health")[1] == b"ok\n"
    assert ask(server, "/", method="HEAD")[1] == b""


@pytest.mark.parametrize(
    "path",
    ["/../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd", "/data.json/../x", "/runs/a/recipe.yaml", "/?x=1"],
)
def test_no_path_leads_to_the_disk(server: ThreadingHTTPServer, path: str) -> None:
    answer, body = ask(server, path)
    assert (answer.status, body) == (404, b"no such page\n")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_sent(server: ThreadingHTTPServer, method: str) -> None:
    assert ask(server, "/data.json", method=method)[0].status == 501


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1:1", ""])
def test_another_sites_name_is_refused(server: ThreadingHTTPServer, host: str) -> None:
    answer, body = ask(server, "/data.json", host=host)
    assert (answer.status, body) == (403, b"another host was asked for\n")


@pytest.mark.parametrize(
    ("host", "status"), [("192.0.2.7", 200), (socket.gethostname(), 200), ("localhost", 200), ("evil.example", 403)]
)
def test_on_all_addresses_it_answers_to_addresses_and_its_own_name(board: Board, host: str, status: int) -> None:
    made = make_server(board, host="0.0.0.0", port=0)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    try:
        assert ask(made, "/health", host=f"{host}:{made.server_address[1]}")[0].status == status
    finally:
        made.shutdown()
        made.server_close()
        thread.join()


def test_a_page_that_has_all_is_told_so_until_a_run_goes_on(
    board: Board, server: ThreadingHTTPServer, tmp_path: Path
) -> None:
    tag = ask(server, "/data.json")[0].headers["ETag"]
    answer, body = ask(server, "/data.json", tag=tag)
    assert (answer.status, body) == (304, b"")
    write_run(tmp_path / "runs" / "b", seed=2)
    thread = threading.Thread(target=board.watch, kwargs={"every": 0.01}, daemon=True)
    thread.start()
    for _ in range(1000):
        answer, body = ask(server, "/data.json", tag=tag)
        if answer.status == 200:
            break
    board.close()
    thread.join()
    assert len(json.loads(body)["runs"]) == 2


def test_a_folder_that_vanishes_leaves_what_was_found_and_is_told(board: Board, tmp_path: Path) -> None:
    before = json.loads(board.shown.data)
    assert before["trouble"] is None
    (tmp_path / "runs").rename(tmp_path / "gone")
    thread = threading.Thread(target=board.watch, kwargs={"every": 0.01}, daemon=True)
    thread.start()
    now = follow(board, lambda data: data["trouble"] is not None)
    assert "is no folder" in now["trouble"]["reason"]
    assert now["runs"] == before["runs"]
    (tmp_path / "gone").rename(tmp_path / "runs")
    assert follow(board, lambda data: data["trouble"] is None)["runs"] == before["runs"]
    board.close()
    thread.join()


def test_whatever_goes_wrong_is_told(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RecursionError("too deep")

    monkeypatch.setattr(board._reader, "gather", fail)
    thread = threading.Thread(target=board.watch, kwargs={"every": 0.01}, daemon=True)
    thread.start()
    assert follow(board, lambda data: data["trouble"] is not None)["trouble"]["reason"] == "RecursionError: too deep"
    board.close()
    thread.join()


def follow(board: Board, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What is shown as soon as it is as wanted."""
    for _ in range(1000):
        data: dict[str, Any] = json.loads(board.shown.data)
        if wanted(data):
            return data
        time.sleep(0.01)
    raise AssertionError(data["trouble"])


def test_a_port_that_is_taken_is_refused(board: Board) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(DataError, match=r"cannot listen at 127.0.0.1:\d+ \(.*\): choose another with --port"):
            make_server(board, host="127.0.0.1", port=taken.getsockname()[1])


def test_pages_beside_are_linked_where_they_answer(
    server: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = server.server_address[1]
    monkeypatch.setattr(serve, "BESIDE", (("Here", port, "/data.json"), ("Other", port, "/health"), ("None", 1, "/")))
    assert serve.beside() == [{"name": "Here", "url": f"http://127.0.0.1:{port}/"}]
