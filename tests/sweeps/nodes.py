"""A Ray cluster on this machine whose nodes come and go, and the command on it.

Nodes is its program as a test sees it: python -m tests.sweeps.nodes CPUS, told on stdin. It prints the head's address;
then does what each line says: "add CPUS", "add CPUS GPUS" with GPUs that Ray only counts, "hide CPUS FOLDER" for a node
that does not see a folder (needs root), "remove" for the last one that came, as by a power cut. Ends with its stdin.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweeps import run as command
from tests.faults import processes


def main() -> None:
    import ray
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": int(sys.argv[1])})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    print(cluster.address, flush=True)
    added = []
    apart: list[subprocess.Popen[bytes]] = []
    for line in sys.stdin:
        what, *arguments = line.split()
        if what == "add":
            cpus, gpus = map(int, (*arguments, "0")[:2])
            added.append(_added(cluster, cpus, gpus))
        elif what == "hide":
            node = f"exec {Path(sys.executable).parent}/ray start --address={cluster.address} --block"
            hidden = f"mount -t tmpfs tmpfs {arguments[1]} && {node} --num-cpus={arguments[0]}"
            quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            apart.append(subprocess.Popen(["unshare", "-m", "bash", "-c", hidden], start_new_session=True, **quiet))  # type: ignore[call-overload]
        else:
            cluster.remove_node(added.pop(), allow_graceful=False)
        print("done", flush=True)
    for process in apart:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
    ray.shutdown()
    cluster.shutdown()


def _added(cluster: Any, cpus: int, gpus: int) -> Any:
    """A further node. Ray gives one 30 s to start, which on a busy machine can be too few."""
    there = set(processes.with_role("raylet", os.getpid()))
    while True:
        try:
            return cluster.add_node(num_cpus=cpus, num_gpus=gpus)
        except Exception as error:
            if "timed out during startup" not in str(error):
                raise
            for late in set(processes.with_role("raylet", os.getpid())) - there:
                os.kill(late, signal.SIGKILL)


class Nodes:
    """The program beside us (nodes.py)."""

    def __init__(self, cpus: int) -> None:
        root = str(Path(command.__file__).resolve().parents[1])
        environment = {
            name: text for name, text in os.environ.items() if not name.startswith(("RAY_ADDRESS", "MLFLOW"))
        }
        self.environment = environment | {"PYTHONPATH": root, "RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1"}
        arguments = [sys.executable, "-m", "tests.sweeps.nodes", str(cpus)]
        self.process = subprocess.Popen(arguments, env=self.environment, stdin=-1, stdout=-1, text=True, cwd=root)
        self.address = self._answer()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        while (said := self._answer()) != "done":  # Ray may say something, too
            assert said or self.process.poll() is None

    def end(self) -> None:
        self.process.communicate()

    def _answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def wait_until(happened: Callable[[], bool]) -> None:
    while not happened():
        time.sleep(0.1)


def small(steps: int) -> list[str]:
    """Settings of runs that take a second for 300 steps."""
    sizes = "train.batch_size=8 model.D=16 model.n_heads=2 model.N_sup=2 data.train=12 data.validation=4 data.test=6"
    return [*sizes.split(), f"train.steps={steps}", f"train.eval_every={steps}", "train.checkpoint_every=50"]


class Launch:
    """The command on such a cluster, and what it has said so far."""

    def __init__(self, nodes: Nodes, folder: Path, *arguments: str, steps: int = 300, **environment: str) -> None:
        self.said = folder / "said.txt"
        study = ["--study", "recursion_depth", "--profile", "mini", "--yes", "--out", str(folder / "results")]
        with self.said.open("w") as screen:
            self.process = subprocess.Popen(
                [sys.executable, command.__file__, *study, *arguments, "--set", *small(steps)],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=screen, stderr=screen,
                env=nodes.environment | {"RAY_ADDRESS": nodes.address, "CUDA_VISIBLE_DEVICES": ""} | environment,
            )  # fmt: skip

    @property
    def text(self) -> str:
        return " ".join(self.said.read_text().split())

    def end(self) -> None:
        """Where a test has failed before it."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def wait_for(self, text: str) -> None:
        while text not in self.text:
            assert self.process.poll() is None or text in self.text, self.text
            time.sleep(0.1)


if __name__ == "__main__":
    main()
