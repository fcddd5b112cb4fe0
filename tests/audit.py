"""Known vulnerabilities of what constraints.txt pins, asked of the OSV database: python -m tests.audit --help."""
# ruff: noqa: T201

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

#: What pip-audit ends with where nobody answers, and nowhere else.
OFFLINE = re.compile(r"ConnectionError|ProxyError|SSLError|HTTPError|Timeout")
PINS = Path(__file__).parents[1] / "constraints.txt"


def main(words: Sequence[str] | None = None) -> int:
    """Exit status: 0 none is known, 1 some are, 3 the database could not be asked."""
    parser = argparse.ArgumentParser(description=__doc__, epilog=main.__doc__)
    parser.add_argument("--unless-offline", action="store_true", help="pass, and say so, where nobody answers")
    parser.add_argument("--pins", type=Path, default=PINS, help="a file of NAME==VERSION")
    parser.add_argument("--osv-url", default="https://api.osv.dev/v1/query", help="another database")
    chosen = parser.parse_args(words)
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "found.json"
        command = [
            sys.executable,
            "-m",
            "pip_audit",
            "--strict",
            "--no-deps",
            "--disable-pip",
            "--progress-spinner=off",
        ]
        command += ["-s", "osv", "--osv-url", chosen.osv_url, "-r", str(chosen.pins), "-f", "json", "-o", str(found)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        told = json.loads(found.read_text()) if found.exists() and found.stat().st_size else None
    if told is None:
        reason = done.stderr.strip().splitlines()[-1:] or [f"pip-audit ended with {done.returncode}"]
        print(f"NOT AUDITED: no answer from {chosen.osv_url}: {reason[0]}", file=sys.stderr)
        return 0 if chosen.unless_offline and OFFLINE.search(done.stderr) else 3
    known = [(package, each) for package in told["dependencies"] for each in package["vulns"]]
    for package, each in known:
        mended = f"mended in {', '.join(each['fix_versions'])}" if each["fix_versions"] else "not mended yet"
        print(f"{package['name']} {package['version']}: {', '.join([each['id'], *each['aliases']])}; {mended}")
    print(f"{len(told['dependencies'])} pinned packages, {len(known)} known vulnerabilities")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
