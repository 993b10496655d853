"""`--submit` and `--attach` from a laptop to a head, with real programs: ssh, sshd, Ray's jobs, a small study."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.chaos import STUDY
from tests.sweeps.cluster.conftest import ROOT, Written
from tests.sweeps.cluster.hosts import NEEDED, Host, hosts, install, lacking, start_sshd, where

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(lacking()), reason=lacking()),
    pytest.mark.skipif(not all(where(name) for name in (*NEEDED, "git")), reason=f"needs git, {', '.join(NEEDED)}"),
]

HELD = """
    '''A study that begins on the cluster when it is let.'''
    import os, time
    from pathlib import Path
    from sweeps.scratch import is_scratch
    from sweeps.studies.recursion_depth import study as base

    while "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ and not Path({gate!r}).exists():
        time.sleep(0.1)
    assert is_scratch(Path()) == ("RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ)
    study = base.model_copy(update=dict(name="held"))
"""


@dataclass
class Laptop:
    """A host with a checkout, and what was said there."""

    host: Host
    tree: Path
    cluster: Path
    said: list[str] = field(default_factory=list)

    def command(self, *arguments: str) -> "subprocess.Popen[str]":
        process: subprocess.Popen[str] = subprocess.Popen(
            self.host.command(sys.executable, "sweeps/run.py", "--submit", str(self.cluster), *arguments),
            cwd=self.tree,
            env={"PATH": os.environ["PATH"], "HOME": "/root", "PYTHONPATH": str(self.tree)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # as the one in front of a terminal, which Ctrl-C reaches
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it may be ignored where the tests run
        )
        self.said.append("")
        return process

    def until(self, process: "subprocess.Popen[str]", word: str) -> str:
        """Read on until a line has this word in it: that line."""
        assert process.stdout is not None
        for line in process.stdout:
            self.said[-1] += line
            if word in line:
                return line
        raise AssertionError(f"no {word!r} in what was said:\n{self.said[-1]}")

    def ended(self, process: "subprocess.Popen[str]") -> tuple[int, str]:
        assert process.stdout is not None
        with process.stdout as stream:
            self.said[-1] += stream.read()
        return process.wait(), self.said[-1]


@contextlib.contextmanager
def checkout(folder: Path, gate: Path) -> Iterator[Path]:
    """This tree as a repository of its own, with a study more."""
    listed = subprocess.run(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True)
    names = listed.stdout.decode().split("\0")[:-1]
    for name in names or [str(path.relative_to(ROOT)) for path in ROOT.glob("*/**/*.py")]:
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "mine").mkdir()
    (folder / "mine" / "held.py").write_text(textwrap.dedent(HELD.format(gate=str(gate))), encoding="utf-8")
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    yield folder


def test_a_study_is_submitted_lost_sight_of_followed_again_and_its_report_brought_back(
    tmp_path: Path, written: Written
) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "key")], check=True)
    gate, shared = tmp_path / "gate", tmp_path / "shared"
    with hosts(2, tmp_path) as (here, head), checkout(tmp_path / "tree", gate) as tree:
        install(head, tmp_path / "key.pub")
        for host in (here, head):
            (host.folder / "home" / ".ray").mkdir(parents=True)
            (host.folder / "home" / ".ray" / "auth_token").touch(mode=0o600)
            (host.folder / "home" / ".ray" / "auth_token").write_text("5" * 64, encoding="ascii")
        _start_ray(head)
        cluster = written(
            "cluster/onprem.yaml",
            ("192.0.2.1", head.address),
            ("192.0.2.2", here.address),
            ("ssh_user: ubuntu", "ssh_user: root"),
            ("~/key", str(tmp_path / "key")),
        )
        laptop = Laptop(here, tree, cluster)
        results = tree / "back"
        asked = ["--study", "mine/held.py", *STUDY[2:], "--out", str(shared), "--launcher", "inline", "--bring", "back"]

        process = laptop.command(*asked)
        job = laptop.until(process, ": its log").partition(":")[0]
        laptop.until(process, "Running entrypoint")
        os.killpg(process.pid, signal.SIGINT)
        code, said = laptop.ended(process)
        assert code == 130, said
        assert f"--attach {job}" in _as_one_line(said)
        assert "Traceback" not in said

        process = laptop.command("--attach")
        laptop.until(process, "Running entrypoint")
        sshd = head.running[0]
        sshd.kill()
        sshd.wait()
        code, said = laptop.ended(process)
        assert code == 2, said
        assert "the connection was lost" in said
        assert f"--attach {job}" in _as_one_line(said)
        start_sshd(head)

        process = laptop.command(*asked)
        laptop.until(process, f"{job}: this command runs there already")
        gate.touch()
        code, said = laptop.ended(process)
        assert code == 0, said
        assert f"{job}: succeeded" in said
        (report,) = (results / "mini" / "held").iterdir()  # its label: settings were changed
        assert {"table.md", "page.html"} <= {path.name for path in report.iterdir()}
        assert (report / "table.md").read_bytes() == (shared / report.relative_to(results) / "table.md").read_bytes()
        assert [path.name for path in results.iterdir()] == ["mini"]  # no runs, no checkpoints
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tree, capture_output=True, text=True).stdout.strip()
        assert _commits(shared / "mlflow.db") == {commit}

        shutil.rmtree(results)
        code, said = laptop.ended(laptop.command("--attach", job, "--bring", "back"))
        assert code == 0, said
        assert (report / "page.html").exists()

        journals = {path: path.read_bytes() for path in shared.glob("runs/*/metrics.jsonl")}
        code, said = laptop.ended(laptop.command(*asked))
        assert (code, len(journals)) == (0, 2), said
        assert f"{job[:-1]}2: sending" in said
        assert {path: path.read_bytes() for path in shared.glob("runs/*/metrics.jsonl")} == journals

        code, said = laptop.ended(laptop.command(*asked, "--only", "no such row"))
        assert code == 2, said
        assert "no such row" in said

        (here.folder / "home" / ".ray" / "auth_token").unlink()
        code, said = laptop.ended(laptop.command("--attach"))
        assert (code, "wants a token" in said) == (2, True), said


def _as_one_line(said: str) -> str:
    """What was broken between words, to be copied."""
    return " ".join(said.replace(" \\\n", " ").split())


def _start_ray(head: Host) -> None:
    """A head with its dashboard, as cluster/onprem.yaml starts one; back when jobs are taken."""
    environment = {
        "HOME": "/root",
        "PATH": f"/root/trm-venv/bin:{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }
    start = "ray start --head --port=6379 --dashboard-host=127.0.0.1 --num-cpus=2"
    head.start(
        ["sh", "-c", f"cd; {start} && exec sleep infinity"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    )
    ask = "until curl -s -o /dev/null http://127.0.0.1:8265/api/version; do sleep 1; done"
    subprocess.run(["ip", "netns", "exec", head.name, "sh", "-c", ask], check=True)


def _commits(database: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        found = connection.execute("SELECT value FROM tags WHERE key = 'mlflow.source.git.commit'")
        return {value for (value,) in found}
