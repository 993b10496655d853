"""What commands meet in the fuzzer: a folder with one of everything, made by the real commands, small.

mlflow.db optuna.db results/    a study of one finished run, and a search of two trials
sets/{sudoku,maze,arc}          puzzle sets
csv/{sudoku,maze} tasks/        puzzles as they are published
theirs.safetensors their_set/   a checkpoint in the released code's form
golden/                         one file of reference numbers
my_study.py my_search.py changed.json
cluster.yaml cluster/           a cluster's file, filled in, and those of the repository
bin/ssh                         OpenSSH's client, without a way out of this machine
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures"
SMALL = (
    *("model.D=16", "model.n_heads=2", "model.N_sup=2", "data.train=24", "data.validation=4", "data.test=12"),
    *("train.steps=6", "train.batch_size=8", "train.eval_every=2", "train.checkpoint_every=2"),
)
STUDY = ("--study", "recursion_depth", "--profile", "mini", "--only", "TRM k=1*", "--set", *SMALL)
SEARCH = ("--search", "my_search.py", "--profile", "mini", "--trials", "2")
MY_SEARCH = '''"""Learning rate alone."""
from sweeps.search_spec import Confirmation, Dimension, Floats, Objective, Search
from sweeps.study import Row
search = Search(
    name="my_search", title="Learning rate", puzzle="sudoku",
    row=Row(name="TRM k=1, T=1", base="trm", change=CHANGE),
    space=(Dimension(setting="optim.lr", range=Floats(low=1e-4, high=3e-2, log=True)),),
    objectives=(Objective(metric="validation/exact_accuracy", direction="maximize"),),
    trials=2, confirmation=Confirmation(best=1, seeds=1),
)
'''
MY_STUDY = '''"""Two rows."""
from sweeps.study import Row, Study
study = Study(
    name="my_study", puzzle="sudoku", title="Mine", source="mine",
    rows=(Row("one", base="trm", change=CHANGE), Row("two", base="trm", change={**CHANGE, "ema": {}})),
)
'''
CHANGE = {
    "model": {"n": 1, "T": 1, "D": 16, "n_heads": 2, "N_sup": 2},
    "train": {"steps": 6, "batch_size": 8, "eval_every": 2, "checkpoint_every": 2},
    "data": {"train": 24, "validation": 4, "test": 12},
}


def environment(folder: Path) -> dict[str, str]:
    """What every command gets: nothing of this machine's MLflow, Ray, hub or GPU."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("MLFLOW_", "RAY_", "HF_"))}
    return kept | {
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "RAY_ADDRESS": "local",
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(folder / "hub"),
        "COLUMNS": "100",
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def build(folder: Path) -> None:
    """Make all of it. Raises CalledProcessError where a command fails."""
    folder.mkdir(parents=True)
    change = {**CHANGE, "model": {**CHANGE["model"], "n": 2}}
    (folder / "my_search.py").write_text(MY_SEARCH.replace("CHANGE", repr(change)))
    (folder / "my_study.py").write_text(
        MY_STUDY.replace('{**CHANGE, "ema": {}}', repr(change)).replace("CHANGE", repr(CHANGE))
    )
    (folder / "changed.json").write_text(json.dumps({"model": {"D": 16}}))
    _run(folder, str(ROOT / "sweeps" / "run.py"), *STUDY)
    _run(folder, str(ROOT / "sweeps" / "run.py"), *SEARCH)
    few = ("--train", "24", "--validation", "4", "--test", "8", "--source", "generate")
    _run(folder, "-m", "data_prep", "sudoku", "--box", "2x2", "--clues", "7", *few, "--out", "sets/sudoku")
    _run(folder, "-m", "data_prep", "maze", "--side", "6", "--least-path", "4", *few, "--out", "sets/maze")
    _run(folder, "-m", "data_prep", "arc", "--side", "10", "--variants", "2", *few, "--out", "sets/arc")
    for name, lines in (("sudoku-extreme", 12), ("maze-30x30-hard-gen", 6)):
        there = folder / "csv" / name.partition("-")[0]
        there.mkdir(parents=True)
        for part in ("train.csv", "test.csv"):
            text = (FIXTURES / name / part).read_text().splitlines(keepends=True)
            (there / part).write_text("".join(text[:lines]))
    _tasks(folder / "tasks")
    (folder / "golden").mkdir()
    shutil.copy(FIXTURES / "golden" / "direct.npz", folder / "golden")
    shutil.copytree(ROOT / "cluster", folder / "cluster")
    filled = (ROOT / "cluster" / "onprem.yaml").read_text().replace("<head's address>", "127.0.0.1")
    (folder / "cluster.yaml").write_text(filled.replace("<other's address>", "127.0.0.1"))
    _without_a_way_out(folder / "bin")
    (run,) = {path.parent.name for path in folder.glob("results/runs/*/checkpoints")} & _study_runs(folder)
    _run(folder, "-m", "trm_core.official", "export", f"results/runs/{run}/checkpoints", "theirs")
    (folder / "model").symlink_to(Path("results", "runs", run, "checkpoints"))


def _without_a_way_out(folder: Path) -> None:
    """An `ssh` that is the machine's own where it has one, and that looks nobody up and reaches nobody."""
    if (ssh := shutil.which("ssh")) is not None:
        folder.mkdir()
        (folder / "ssh").write_text(f'#!/bin/sh\nexec {ssh} -F /dev/null -o ProxyCommand=false "$@"\n')
        (folder / "ssh").chmod(0o755)


def _study_runs(folder: Path) -> set[str]:
    (document,) = folder.glob("results/mini/recursion_depth/*/campaign.json")
    return {run["key"] for run in json.loads(document.read_text())["runs"]}


def _tasks(folder: Path) -> None:
    draw = random.Random(0)

    def grid() -> list[list[int]]:
        return [[draw.randrange(10) for _ in range(4)] for _ in range(3)]

    for subset in ("training", "evaluation"):
        there = folder / "data" / subset
        there.mkdir(parents=True)
        for _ in range(3):
            pair = [{"input": grid(), "output": grid()} for _ in range(3)]
            (there / f"{draw.randrange(16**8):08x}.json").write_text(json.dumps({"train": pair[1:], "test": pair[:1]}))


def _run(folder: Path, *command: str) -> None:
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment(folder), capture_output=True, text=True
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
