"""One run on the hosts of a cluster, by the scripts of docs/scale.md: SLURM and Ray, of two hosts on this machine."""

import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from eos.training.result import read_result
from tests.ports import free_ports
from tests.training.torchrun import EOS, SMALL, numbers

pytestmark = pytest.mark.services
PAGE = Path(__file__).parents[2] / "docs/scale.md"
#: Long enough to be stopped by a limit of time, and to be done when it is begun again.
LONG = ["training.steps=1500", "training.validate_every=null", "training.checkpoint_every=50", "training.log_every=50"]


def script(language: str, changes: Mapping[str, str]) -> str:
    """The page's only block in a language, with what is of large machines made small; every change must apply."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    for large, small in changes.items():
        assert code.count(large) == 1, large
        code = code.replace(large, small)
    return str(code)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PATH": f"{EOS.parent}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1", **more}


@pytest.fixture(scope="module")
def slurm() -> Iterator[dict[str, str]]:
    """The environment in which commands find a SLURM of two hosts, which are this machine, on loopback alone."""
    for name in ("munged", "slurmctld", "slurmd"):
        assert shutil.which(name), f"{name} is not installed: apt-get install slurm-wlm munge"
    place, user = Path(tempfile.mkdtemp(prefix="eos-slurm-")), getpass.getuser()
    control, first, second = free_ports(3)
    (place / "state").mkdir()
    key, conf = place / "munge.key", place / "slurm.conf"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    conf.write_text(f"""
ClusterName=eos
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={control}
SlurmUser={user}
SlurmdUser={user}
AuthInfo=socket={place}/munge.socket
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
StateSaveLocation={place}/state
SlurmdSpoolDir={place}/spool-%n
SlurmctldPidFile={place}/slurmctld.pid
SlurmdPidFile={place}/slurmd-%n.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdLogFile={place}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/linear
NodeName=host1 NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={first} CPUs=1
NodeName=host2 NodeHostname={socket.gethostname()} NodeAddr=127.0.0.1 Port={second} CPUs=1
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
""")
    files = [f"--{name}-file={place}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    munged = ["munged", "--foreground", "--force", f"--socket={place}/munge.socket", *files]
    daemons = [munged, ["slurmctld", "-D", "-f", str(conf)]]
    daemons += [["slurmd", "-D", "-f", str(conf), "-N", host] for host in ("host1", "host2")]
    quiet = subprocess.DEVNULL
    begun = []
    try:
        for command in daemons:
            begun.append(subprocess.Popen(command, stdout=quiet, stderr=quiet, cwd=place))
            time.sleep(1)
        found = environment(SLURM_CONF=str(conf), SCRATCH=str(place))
        for patience in range(60, -1, -1):
            if "idle" in told(["sinfo", "-h"], found):
                break
            assert patience, (place / "slurmctld.log").read_text()
            time.sleep(0.5)
        yield found
    finally:
        for daemon in reversed(begun):
            daemon.terminate()
            daemon.wait(timeout=60)
        shutil.rmtree(place)


def told(command: list[str], where: Mapping[str, str]) -> str:
    return subprocess.run(command, env=dict(where), capture_output=True, text=True, check=False, timeout=60).stdout


def submitted(job: Path, where: Mapping[str, str], *options: str) -> str:
    """What a job said, once SLURM has no more of it."""
    log = job.with_suffix(".log")
    number = told(["sbatch", "--parsable", f"--output={log}", *options, str(job)], where).strip()
    assert number.isdigit(), number
    until = time.monotonic() + 300
    while told(["squeue", "-h", "-j", number], where).strip():
        assert time.monotonic() < until, log.read_text()
        time.sleep(0.5)
    return log.read_text()


def test_a_job_of_slurm_is_stopped_by_its_limit_and_goes_on(slurm: dict[str, str], tmp_path: Path) -> None:
    (port,) = free_ports(1)
    job = tmp_path / "job.sh"
    job.write_text(
        script(
            "bash",
            {
                "--nodes=4": "--nodes=2",
                " --gpus-per-node=8 --cpus-per-task=64": "",
                "--signal=TERM@120": "--signal=TERM@90",
                "model=gla size=1b task.source=/data/text": " ".join([*SMALL, *LONG]),
                "--nproc-per-node 8": "--nproc-per-node 1 --local-addr 127.0.0.1",
                '"$head:29500"': f"127.0.0.1:{port}",
            },
        )
    )
    run = Path(slurm["SCRATCH"]) / "runs/long"
    # SLURM counts minutes, and warns up to one earlier than asked for
    said = submitted(job, slurm, "--time=2")
    stopped = read_result(run / "result.json")
    assert stopped.status == "stopped", said
    assert 0 < stopped.steps < 1500
    assert "one of 2 processes" in said
    assert "resume=true" in said
    said = submitted(job, slurm)
    finished = read_result(run / "result.json")
    assert (finished.status, finished.steps) == ("finished", 1500), said


def test_a_run_on_two_hosts_of_a_ray_cluster_is_the_run_of_one(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    (port,) = free_ports(1)
    code = script(
        "py",
        {
            "HOSTS, EACH = 2, 8": "HOSTS, EACH = 2, 1",
            '{"CPU": 64, "GPU": 8}': '{"CPU": 1}',
            ":29500": f":{port} --local-addr 127.0.0.1",
        },
    )
    (tmp_path / "train.py").write_text(code)
    subprocess.run([EOS, "train", *SMALL, "run=one"], cwd=tmp_path, check=True, capture_output=True)
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=1)
        words = [*SMALL, f"run={tmp_path}/several"]
        done = subprocess.run(
            [sys.executable, "train.py", *words],
            cwd=tmp_path,
            env=environment(RAY_ADDRESS=cluster.address),
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    finally:
        cluster.shutdown()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one of 2 processes" in done.stdout + done.stderr
    assert numbers(tmp_path / "several") == pytest.approx(numbers(tmp_path / "one"), rel=2e-4)
