"""Files for other launchers, Kubernetes, SkyPilot and SLURM: what can be seen of them without one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sweeps.cluster.findings import Document, Finding, at

SKY_KEYS = (
    *("name", "workdir", "num_nodes", "resources", "envs", "secrets", "file_mounts", "volumes", "setup", "run"),
    *("config", "service", "event_callback"),
)
PINNED = re.compile(r"^ray==(\S+)", re.MULTILINE)
LONGEST_NOTICE_S = 65535  # SLURM's limit


# --- Kubernetes ------------------------------------------------------------------------------------------------------


def look_at_kubernetes(documents: Sequence[Document], folder: Path) -> Iterator[Finding]:
    """A RayJob and the claim that its pods share."""
    by_kind = {str(at(document.data, "kind")): document for document in documents}
    for document in documents:
        for field in ("apiVersion", "kind", "metadata"):
            if at(document.data, field) is None:
                yield Finding(document.line(), f"no {field}; every Kubernetes object has one")
    job, claim = by_kind.get("RayJob"), by_kind.get("PersistentVolumeClaim")
    if job is None:
        yield Finding(documents[0].line(), "no object of kind RayJob")
        return
    if at(job.data, "apiVersion") != "ray.io/v1":
        yield Finding(job.line("apiVersion"), "a RayJob is of apiVersion ray.io/v1")
    yield from _ray_job(job, folder)
    named = dict(_claims(job))
    if claim is None:
        if not named:
            yield Finding(job.line("spec"), "no pod has a claim; checkpoints have to lie where every pod sees them")
        return
    if "ReadWriteMany" not in at(claim.data, "spec", "accessModes", default=[]):
        yield Finding(
            claim.line("spec", "accessModes"), "every pod writes into the claim; write accessModes: [ReadWriteMany]"
        )
    name = at(claim.data, "metadata", "name")
    for other, line in named.items():
        if other != name:
            yield Finding(line, f"claim {other}, and the one here is called {name}")


def _ray_job(job: Document, folder: Path) -> Iterator[Finding]:
    spec = at(job.data, "spec", default={})
    if not at(spec, "entrypoint"):
        yield Finding(job.line("spec"), "no entrypoint: nothing would be run")
    if at(spec, "shutdownAfterJobFinishes") is not True:
        yield Finding(
            job.line("spec", "shutdownAfterJobFinishes"),
            "the cluster would stay, and cost, when the job has ended; write shutdownAfterJobFinishes: true",
        )
    if at(spec, "rayClusterSpec", "authOptions", "mode") != "token":
        yield Finding(
            job.line("spec", "rayClusterSpec"),
            "without authOptions: {mode: token} any pod that reaches the cluster may run code on it",
        )
    pinned = folder / "constraints.txt"
    found = PINNED.search(pinned.read_text(encoding="utf-8")) if pinned.is_file() else None
    version = at(spec, "rayClusterSpec", "rayVersion")
    if found and version != found[1]:
        yield Finding(
            job.line("spec", "rayClusterSpec", "rayVersion"),
            f"rayVersion {version}, and constraints.txt installs {found[1]} into the image",
        )
    for keys, pod in _pods(job):
        containers = at(pod, "containers", default=[])
        if not containers:
            yield Finding(job.line(*keys), "no containers")
        for number, container in enumerate(containers):
            image = str(at(container, "image", default=""))
            if not image or ":" not in image.rpartition("/")[2] or image.endswith(":latest"):
                yield Finding(
                    job.line(*keys, "containers", number, "image"),
                    f"image {image or 'missing'}: name one with a tag of its own, so that a run says what it ran",
                )
            if not any(at(mount, "mountPath") for mount in at(container, "volumeMounts", default=[])):
                yield Finding(
                    job.line(*keys, "containers", number),
                    "no volumeMounts; checkpoints have to lie where every pod sees them",
                )
    if not any(
        "nvidia.com/gpu" in at(one, "resources", "limits", default={})
        for _, pod in _pods(job)
        for one in at(pod, "containers", default=[])
    ):
        yield Finding(
            job.line("spec", "rayClusterSpec", "workerGroupSpecs"),
            "no container asks for nvidia.com/gpu: runs would train on CPUs",
            True,
        )


def _pods(job: Document) -> Iterator[tuple[tuple[Any, ...], Any]]:
    above = ("spec", "rayClusterSpec")
    groups = at(job.data, *above, "workerGroupSpecs", default=[])
    for keys in (("headGroupSpec",), *(("workerGroupSpecs", number) for number in range(len(groups)))):
        path = (*above, *keys, "template", "spec")
        yield path, at(job.data, *path, default={})


def _claims(job: Document) -> Iterator[tuple[str, int]]:
    for keys, pod in _pods(job):
        for number, volume in enumerate(at(pod, "volumes", default=[])):
            if name := at(volume, "persistentVolumeClaim", "claimName"):
                yield str(name), job.line(*keys, "volumes", number)


# --- SkyPilot --------------------------------------------------------------------------------------------------------


def look_at_skypilot(document: Document, folder: Path) -> Iterator[Finding]:
    """A task: known keys, a command, GPUs, a folder that outlives the machine."""
    data = document.data
    for key in data:
        if key not in SKY_KEYS:
            yield Finding(document.line(key), f"{key}: no field of a SkyPilot task; there are {', '.join(SKY_KEYS)}")
    if not at(data, "run"):
        yield Finding(document.line(), "no run: nothing would be run")
    if not at(data, "resources", "accelerators"):
        yield Finding(document.line("resources"), "no accelerators: runs would train on CPUs", True)
    workdir = at(data, "workdir")
    if isinstance(workdir, str) and not (folder / workdir).expanduser().is_dir():
        yield Finding(document.line("workdir"), f"{workdir}: no folder on this machine")
    for remote, local in at(data, "file_mounts", default={}).items():
        if isinstance(local, str) and "://" not in local and not (folder / Path(local).expanduser()).exists():
            yield Finding(document.line("file_mounts", remote), f"{local} is not on this machine")
    if at(data, "resources", "use_spot") and not at(data, "file_mounts"):
        yield Finding(
            document.line("resources", "use_spot"),
            "a spot machine takes its disk with it; keep results in a file_mount",
        )


# --- SLURM -----------------------------------------------------------------------------------------------------------


def look_at_slurm(path: Path, text: str) -> Iterator[Finding]:
    """A batch script: bash takes it, and it lives through the end of its time."""
    if shutil.which("bash"):
        refused = subprocess.run(["bash", "-n", str(path.resolve())], capture_output=True, text=True, timeout=20).stderr
        for number, message in re.findall(r"line (\d+): (.*)", refused)[:1]:
            yield Finding(int(number), f"bash refuses it: {message}")
    options: dict[str, tuple[int, str]] = {}
    commands = 0
    for number, said in enumerate(text.splitlines(), start=1):
        if said.startswith("#SBATCH"):
            name, _, value = said.removeprefix("#SBATCH").split("#")[0].strip().partition("=")
            if commands:
                yield Finding(number, f"{name} comes after the first command, where SLURM no longer reads it")
            options[name] = (number, value.strip())
        elif said.strip() and not said.startswith("#"):
            commands += 1
    if "--requeue" not in options:
        yield Finding(1, "without #SBATCH --requeue a job that is preempted does not come back")
    line, signal = options.get("--signal", (1, ""))
    asked = re.fullmatch(r"B:(?:SIG)?TERM@(\d+)", signal)
    if asked is None or not 60 <= int(asked[1]) <= LONGEST_NOTICE_S:
        yield Finding(
            line, "the script needs a minute or more to stop at a checkpoint; write #SBATCH --signal=B:TERM@120"
        )
    if "--time" not in options:
        yield Finding(1, "no #SBATCH --time: the partition's own limit decides", True)
    if "symmetric-run" in text:
        if "RAY_AUTH_MODE=token" not in text:
            yield Finding(1, "without RAY_AUTH_MODE=token other users of the cluster may run code in the job")
        if "--exclusive" not in options:
            yield Finding(
                1,
                "without #SBATCH --exclusive two of your jobs share a node, and the first to end stops the other's Ray",
            )
