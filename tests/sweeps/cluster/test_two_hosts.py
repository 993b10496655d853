"""Ray over two hosts, with real programs: cluster/slurm.sbatch, and `ray up cluster/onprem.yaml` over ssh."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweeps.cluster.conftest import ROOT, Written
from tests.sweeps.cluster.hosts import NEEDED, Host, hosts, install, lacking, where

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]

PROGRAM = """
import os, ray, socket
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
ray.init(address=os.environ.get("RAY_ADDRESS", "auto"), log_to_driver=False)
@ray.remote(num_cpus=1)
def host():
    return socket.gethostname()
on = [NodeAffinitySchedulingStrategy(node["NodeID"], soft=False) for node in ray.nodes() if node["Alive"]]
print("ran on", *sorted(ray.get([host.options(scheduling_strategy=node).remote() for node in on])))
"""


@pytest.mark.skipif(bool(lacking()), reason=lacking())
def test_a_slurm_job_is_one_ray_over_both_of_its_hosts(tmp_path: Path, written: Written) -> None:
    script = written("cluster/slurm.sbatch")
    (tmp_path / "root" / "sweeps").mkdir(parents=True)
    (tmp_path / "root" / "sweeps" / "run.py").write_text(PROGRAM, encoding="utf-8")
    with hosts(2, tmp_path) as (first, second):
        here = [shlex.join(host.command()) for host in (first, second)]
        programs = {
            "scontrol": f"printf '%s\\n' {first.address} {second.address}",
            "srun": (
                f'shift\n{here[1]} "$@" > {tmp_path}/second 2>&1 &\n{here[0]} "$@"; code=$?\n'
                "kill -9 $!; exit $code"  # srun would wait until the second has missed the first, which takes a minute
            ),
        }
        for name, body in programs.items():
            (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n", encoding="utf-8")
            (tmp_path / name).chmod(0o755)
        ended = subprocess.run(
            ["bash", str(script)],
            cwd=tmp_path / "root",
            env={
                "PATH": f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}",
                "HOME": str(tmp_path),
                "TRM_PYTHON": sys.executable,
                "TRM_SHARED": str(tmp_path),
                "RAY_USAGE_STATS_ENABLED": "0",
                "SLURM_JOB_ID": "41",
                "SLURM_JOB_NODELIST": "both",
                "SLURM_JOB_NUM_NODES": "2",
            },
            capture_output=True,
            text=True,
        )
        assert f"ran on {first.name} {second.name}" in ended.stdout, ended.stdout[-3000:] + ended.stderr[-3000:]
        assert ended.returncode == 0, ended.stdout[-3000:] + ended.stderr[-3000:]
        assert not list((tmp_path / ".ray").glob("*"))  # the token was the job's alone, and never a file


@pytest.mark.skipif(bool(lacking()), reason=lacking())
@pytest.mark.skipif(not all(where(name) for name in NEEDED), reason=f"needs {', '.join(NEEDED)}")
def test_own_machines_come_up_work_together_and_go_down(tmp_path: Path, written: Written) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    with hosts(2, tmp_path) as (first, second):
        for host in (first, second):
            install(host, tmp_path / "key.pub")
        path = written(
            "cluster/onprem.yaml",
            ("192.0.2.1", first.address),
            ("192.0.2.2", second.address),
            ("ssh_user: ubuntu", "ssh_user: root"),
            ("~/key", str(tmp_path / "key")),
            ("cluster_name: trm-ablations", f"cluster_name: trm-test-{os.getpid()}"),
            ("  - cd ~/trm-ablations && ~/trm-venv/bin/pip install -q -c constraints.txt -e .\n", ""),  # install did
            ("ray start --", "ray start --num-cpus=1 --"),
            ('"~/trm-ablations": "."', f'"~/trm-ablations": "{ROOT}/sweeps"'),  # the whole tree takes rsync long
        )
        up = _cluster("up", path)
        assert up.returncode == 0, up.stdout[-3000:]
        assert "good: head" in up.stdout
        try:
            _run_on(first, tmp_path / "key", "cat > program.py", PROGRAM)
            said = ""
            while second.name not in said:  # it comes when the head's autoscaler has set it up
                said = _run_on(first, tmp_path / "key", "RAY_AUTH_MODE=token trm-venv/bin/python program.py")
            assert f"ran on {first.name} {second.name}" in said
            listening = _run_on(first, tmp_path / "key", "stat -c %a ~/.ray/auth_token; ss -ltn")
            assert listening.startswith("600")
            assert "127.0.0.1:8265" in listening
            refused = _run_on(
                first, tmp_path / "key", "rm .ray/auth_token; RAY_AUTH_MODE=token trm-venv/bin/ray status"
            )
            assert "Active" not in refused
        finally:
            down = _cluster("down", path)
        assert down.returncode == 0
        for host in (first, second):  # the second ends when it has missed the first for a while
            while "raylet" in _run_on(host, tmp_path / "key", "sleep 3; ps ax"):
                pass


def _cluster(verb: str, path: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "sweeps.cluster", verb, str(path)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
    )


def _run_on(host: Host, key: Path, command: str, given: str = "") -> str:
    options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "IdentitiesOnly=yes"]
    ssh = ["ssh", "-i", str(key), *(word for option in options for word in ("-o", option)), f"root@{host.address}"]
    return subprocess.run(
        [*ssh, command], input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ).stdout
