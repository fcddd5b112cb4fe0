"""Searches that several machines share: PostgreSQL, MySQL, a proxy, and a Ray cluster of two nodes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from eos.cli.main import main
from search.space import Space
from search.storage import StudyError, open_storage
from search.study import RETRY_OF, Study, join, lost
from tests.ports import free_ports
from tests.search.conftest import SMALL

pytestmark = pytest.mark.services
ROOT = Path(__file__).parents[2]
NARROW = {"expand": ["linear", "elu"], "oscillation": ["none", "key_gate"], "shrink": "fixed", "options": "none"}


def program(name: str) -> str:
    """A program of a server; Debian keeps those of PostgreSQL away from the path."""
    places = [shutil.which(name), *map(str, sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True))]
    found = next(filter(None, places), None)
    assert found is not None, f"{name} is not installed: apt-get install postgresql mariadb-server"
    return found


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of an empty database, and what restarts its server at once; the server refuses to be root's."""
    # Not below pytest's own folder, which is closed to other users.
    place, port = Path(tempfile.mkdtemp(prefix="eos-postgres-")), free_ports(1)[0]
    user = []
    if os.getuid() == 0:
        user = ["runuser", "-u", "nobody", "--"]
        shutil.chown(place, "nobody")
    data = place / "data"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": place}
    subprocess.run([*user, program("initdb"), "-D", data, "-U", "eos", "-A", "trust"], **quiet)
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={place} -c fsync=off"
    control = [*user, program("pg_ctl"), "-D", str(data), "-w"]

    def start() -> None:
        subprocess.run([*control, "-o", options, "-l", str(place / "log"), "start"], **quiet)

    def stop() -> None:
        subprocess.run([*control, "-m", "immediate", "stop"], **quiet)

    def restart() -> None:
        stop()
        time.sleep(3)
        start()

    start()
    yield f"postgresql://eos@127.0.0.1:{port}/postgres", restart
    stop()
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def postgres(postgres_server: tuple[str, Callable[[], None]]) -> str:
    """The URL of its database."""
    return postgres_server[0]


@pytest.fixture(scope="module")
def mysql_server() -> Iterator[tuple[str, Callable[[], None]]]:
    """Likewise of MariaDB, which Debian brings as MySQL."""
    place, port = Path(tempfile.mkdtemp(prefix="eos-mysql-")), free_ports(1)[0]
    common = [f"--datadir={place / 'data'}"]
    if os.getuid() == 0:
        shutil.chown(place, "nobody")
        common.append("--user=nobody")
    setup = place / "setup.sql"
    # Read line by line.
    setup.write_text(
        "CREATE DATABASE IF NOT EXISTS eos;\nCREATE USER IF NOT EXISTS eos@'127.0.0.1';\n"
        "GRANT ALL ON eos.* TO eos@'127.0.0.1';\n"
    )
    install = [program("mariadb-install-db"), "--no-defaults", "--auth-root-authentication-method=normal", *common]
    subprocess.run(install, check=True, stdout=subprocess.DEVNULL, cwd=place)
    listens = [f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve", f"--socket={place / 'socket'}"]
    command = [program("mariadbd"), "--no-defaults", *common, *listens, f"--init-file={setup}"]
    url = f"mysql://eos@127.0.0.1:{port}/eos"

    def start() -> "subprocess.Popen[bytes]":
        with (place / "log").open("a") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, cwd=place)

    def restart() -> None:
        nonlocal server
        server.kill()
        server.wait(timeout=60)
        time.sleep(3)
        server = start()

    server = start()
    try:
        for patience in range(60, -1, -1):
            try:
                open_storage(url)
                break
            except StudyError:
                assert patience, (place / "log").read_text()
                assert server.poll() is None, (place / "log").read_text()
                time.sleep(0.5)
        yield url, restart
    finally:
        server.terminate()
        server.wait(timeout=60)
        shutil.rmtree(place)


@pytest.fixture(scope="module")
def mysql(mysql_server: tuple[str, Callable[[], None]]) -> str:
    """The URL of its database."""
    return mysql_server[0]


@pytest.fixture(params=["postgres_server", "mysql_server"])
def server(request: pytest.FixtureRequest) -> tuple[str, Callable[[], None]]:
    found: tuple[str, Callable[[], None]] = request.getfixturevalue(request.param)
    return found


@pytest.fixture(params=["postgres", "mysql"])
def database(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param))


def worker(url: str, name: str, done: Path) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.search.stub_worker", url, name, str(done)], env=environment, cwd=ROOT
    )


def test_two_of_four_workers_are_killed_and_no_trial_is_lost_or_doubled(
    database: str, tmp_path: Path, space_of: Callable[..., Space], study_of: Callable[..., Study]
) -> None:
    study = study_of(space_of(**NARROW, sampler="random"), url=database, name="killed", trials=500)
    logs = [tmp_path / f"done-{number}" for number in range(4)]
    workers = [worker(database, "killed", log) for log in logs]
    for victim, after in ((0, 60), (1, 200)):
        while sum(trial.state == TrialState.COMPLETE for trial in study.trials) < after:
            time.sleep(0.1)
            assert all(each.poll() is None for each in workers[victim:])
        workers[victim].send_signal(signal.SIGKILL)
    for each in workers[2:]:
        assert each.wait(timeout=600) == 0
    trials = join(database, "killed").trials
    gone = [trial.number for trial in trials if lost(trial)]
    again = [trial.user_attrs[RETRY_OF] for trial in trials if RETRY_OF in trial.user_attrs]
    assert sum(trial.state == TrialState.COMPLETE for trial in trials) == 500
    assert len(trials) == 500 + len(gone)
    assert sorted(again) == sorted(gone)
    assert len(gone) <= 2
    run = [int(line) for log in logs if log.exists() for line in log.read_text().split()]
    complete = {trial.number for trial in trials if trial.state == TrialState.COMPLETE}
    # One that was killed after its trial and before it could tell has it run again, as another one.
    assert complete <= set(run)
    assert len(run) == len(set(run)) <= 500 + len(gone)


def test_a_server_that_restarts_is_waited_for_and_no_finished_trial_is_lost(
    server: tuple[str, Callable[[], None]],
    tmp_path: Path,
    space_of: Callable[..., Space],
    study_of: Callable[..., Study],
) -> None:
    url, restart = server
    study = study_of(space_of(**NARROW, sampler="random"), url=url, name="restarted", trials=200)
    logs = [tmp_path / f"done-{number}" for number in range(2)]
    workers = [worker(url, "restarted", log) for log in logs]
    for after in (40, 120):
        while sum(trial.state == TrialState.COMPLETE for trial in study.trials) < after:
            time.sleep(0.1)
            assert all(each.poll() is None for each in workers)
        restart()
    assert [each.wait(timeout=600) for each in workers] == [0, 0]
    trials = join(url, "restarted").trials
    complete = {trial.number for trial in trials if trial.state == TrialState.COMPLETE}
    assert len(complete) == 200
    # what was run and is not complete was taken for lost while the server was away, and run again
    run = {int(line) for log in logs for line in log.read_text().split()}
    assert complete <= run
    assert run - complete <= {trial.number for trial in trials if lost(trial)}


def test_workers_use_a_proxy(
    postgres: str, tmp_path: Path, space_of: Callable[..., Space], study_of: Callable[..., Study]
) -> None:
    study_of(space_of(**NARROW, sampler="random"), url=postgres, name="proxied", trials=10)
    port = free_ports(1)[0]
    command = [sys.executable, "-m", "eos.cli.main", "search", "serve", postgres, "--port", str(port)]
    server = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        workers = [worker(f"grpc://127.0.0.1:{port}", "proxied", tmp_path / f"done-{n}") for n in range(2)]
        assert [each.wait(timeout=300) for each in workers] == [0, 0]
    finally:
        server.terminate()
        server.wait(timeout=30)
    assert [trial.state for trial in join(postgres, "proxied").trials] == [TrialState.COMPLETE] * 10


def test_a_search_runs_on_a_ray_cluster_of_two_nodes(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray
    from ray.cluster_utils import Cluster

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(sys, "argv", ["eos"])
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        cluster.add_node(num_cpus=1)
        narrow = ["search.expand=[linear,elu]", "search.oscillation=[none,key_gate]", "search.shrink=fixed",
                  "search.options=none", "search.vary={}", "search.first=[]"]  # fmt: skip
        where = [
            "on=ray",
            f"address={cluster.address}",
            "jobs=2",
            f"storage={postgres}",
            "study=ray",
            f"folder={tmp_path}",
        ]
        assert main(["search", *SMALL, *narrow, *where, "trials=4"]) == 0
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert [trial.state for trial in join(postgres, "ray").trials] == [TrialState.COMPLETE] * 4
