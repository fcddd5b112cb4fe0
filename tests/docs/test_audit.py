"""The audit of dependencies finds what a database knows, and does not take silence for safety."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from tests.audit import PINS, main

pytestmark = pytest.mark.services
#: As the OSV database answers a query.
KNOWN = {
    "id": "PYSEC-0000-1",
    "aliases": ["CVE-0000-1"],
    "modified": "2026-01-01T00:00:00Z",
    "summary": "not a real one",
    "affected": [
        {
            "package": {"name": "einops", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        }
    ],
}


class Database(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = json.dumps({"vulns": [KNOWN]} if asked["package"]["name"] == "einops" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def database() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Database)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/query"
    server.shutdown()
    thread.join()
    server.server_close()


def test_what_is_known_is_found(database: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--osv-url", database]) == 1
    said = capsys.readouterr().out
    assert "PYSEC-0000-1, CVE-0000-1; mended in 99.0" in said
    pins = [line for line in PINS.read_text().splitlines() if "==" in line]
    assert f"{len(pins)} pinned packages, 1 known vulnerabilities" in said


def test_what_is_not_known_passes(database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pins = tmp_path / "pins.txt"
    pins.write_text("attrs==26.1.0\n")
    assert main(["--osv-url", database, "--pins", str(pins)]) == 0
    assert "1 pinned packages, 0 known vulnerabilities" in capsys.readouterr().out


def test_pins_that_cannot_be_read_do_not_pass(database: str, tmp_path: Path) -> None:
    pins = tmp_path / "pins.txt"
    pins.write_text("attrs>=26\n")
    assert main(["--osv-url", database, "--pins", str(pins), "--unless-offline"]) == 3


def test_a_database_that_does_not_answer_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = ["--osv-url", "http://127.0.0.1:1/v1/query"]
    assert main(nowhere) == 3
    assert main([*nowhere, "--unless-offline"]) == 0
    assert capsys.readouterr().err.count("NOT AUDITED") == 2
