"""cluster/slurm.sbatch, run by bash, with programs in the place of SLURM's that do what those would do to it."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sweeps.cluster.conftest import Written

PROGRAMS = {
    "scontrol": """
[ "$1 $2" != "show hostnames" ] || { echo here; echo there; exit; }
echo "$@" >> "$NOTES/scontrol"
""",
    "srun": """
echo "$@" > "$NOTES/srun"; env | grep ^RAY > "$NOTES/environment"
while [ "$1" != -- ]; do shift; done; shift
[ -n "${NO_RAY:-}" ] || "$@"
exit "${OF_SRUN:-0}"
""",
    "python": """
trap 'echo stopped >> "$NOTES/command"; exit 130' TERM
echo "$@" > "$NOTES/command"; echo "${RAY_ADDRESS:-}" > "$NOTES/address"; touch "$NOTES/runs"
[ -z "${WAITS:-}" ] || while true; do sleep 0.1; done
exit "${CODE:-0}"
""",
}

Job = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


@pytest.fixture
def job(tmp_path: Path, notes: Path, written: Written) -> Job:
    """Start the script as SLURM does: in the repository's root, with a job's variables."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in PROGRAMS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{body}", encoding="utf-8")
        (programs / name).chmod(0o755)
    script = written("cluster/slurm.sbatch")

    def start(*arguments: str, **variables: str) -> "subprocess.Popen[str]":
        environment = {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "NOTES": str(notes),
            "TRM_PYTHON": str(programs / "python"),
            "TRM_SHARED": str(notes),
            "SLURM_JOB_ID": "41",
            "SLURM_JOB_NODELIST": "here,there",
            "SLURM_JOB_NUM_NODES": "2",
            "SLURM_CPUS_PER_TASK": "8",
            "SLURM_GPUS_ON_NODE": "4",
            **variables,
        }
        return subprocess.Popen(
            ["bash", str(script), *arguments],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start


ARRAY = {"SLURM_ARRAY_JOB_ID": "40", "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_MAX": "8"}


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    said, _ = process.communicate()
    return process.returncode, said


def test_the_nodes_become_one_ray_with_a_port_and_a_token_of_the_jobs_own(job: Job, notes: Path) -> None:
    assert ended(job("--study", "recursion_depth")) == (0, "")
    srun = (notes / "srun").read_text().split()
    assert " ".join(srun[1:12]) == ("ray symmetric-run --address here:20041 --min-nodes 2 --num-cpus 8 --num-gpus 4 --")
    asked = f"sweeps/run.py --out {notes}/results --yes --study recursion_depth\n"
    assert (notes / "command").read_text() == asked
    environment = dict(line.split("=", 1) for line in (notes / "environment").read_text().splitlines())
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["RAY_ADDRESS"] == "here:20041"
    assert len(environment["RAY_AUTH_TOKEN"]) == 64
    assert environment["RAY_AUTH_TOKEN"] not in " ".join(srun)
    ended(job())
    assert environment["RAY_AUTH_TOKEN"] not in (notes / "environment").read_text()


def test_a_job_of_an_array_trains_its_part_with_a_ray_of_its_own(job: Job, notes: Path) -> None:
    assert ended(job("--study", "mini", **ARRAY))[0] == 0
    assert (notes / "command").read_text().endswith("--yes --study mini --shard 2/8\n")
    assert (notes / "address").read_text() == "local\n"
    assert not (notes / "srun").exists()
    ended(job(**ARRAY, TRM_SHARDS="16"))
    assert (notes / "command").read_text().endswith("--shard 2/16\n")


@pytest.mark.parametrize(("variables", "name"), [({}, "41"), (ARRAY, "40_2")])
def test_a_job_at_the_end_of_its_time_stops_its_command_and_is_queued_again(
    job: Job, notes: Path, variables: dict[str, str], name: str
) -> None:
    process = job(**variables, WAITS="1")
    while not (notes / "runs").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)  # to the script alone, as --signal=B: does
    code, said = ended(process)
    assert (code, said.count("queued again")) == (130, 1)
    assert (notes / "command").read_text().endswith("stopped\n")
    assert (notes / "scontrol").read_text() == f"requeue {name}\n"


def test_the_commands_exit_code_counts_and_not_that_of_what_started_it(job: Job) -> None:
    assert ended(job(OF_SRUN="1"))[0] == 0
    assert ended(job(CODE="2"))[0] == 2
    code, said = ended(job(NO_RAY="1"))
    assert code == 1
    assert "did not start" in said


def test_a_job_that_fails_by_itself_is_not_queued_again(job: Job, notes: Path) -> None:
    assert ended(job(CODE="2"))[0] == 2
    assert not (notes / "scontrol").exists()
    assert list(notes.glob("turn-*")) == []
