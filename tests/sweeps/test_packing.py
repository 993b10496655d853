"""How many runs at once, by which launcher."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps import run as command
from sweeps.machines import Machines
from sweeps.packing import (
    AUTO,
    Arrangement,
    BadShare,
    GpusPerRun,
    LauncherName,
    NotEnoughMachines,
    arrange,
    largest,
    on_one_gpu,
    read_gpus_per_run,
    share_of_a_gpu,
)
from sweeps.recipes import recipe
from sweeps.search_spec import Choices, Dimension, Floats, Integers
from trm_core.memory import peak_bytes


@pytest.mark.parametrize(
    ("cpus", "gpus", "jobs", "launcher", "workers", "expected"),
    [
        (2, 0, 6, None, 1, Arrangement("inline", 2, 1, use_gpu=False)),
        (16, 0, 6, None, 1, Arrangement("inline", 6, 1, use_gpu=False)),  # never more than there are jobs
        (2, 0, 6, "train", 1, Arrangement("train", 2, 1, use_gpu=False)),
        (8, 0, 6, None, 2, Arrangement("train", 4, 2, use_gpu=False)),  # several workers need Train
        (16, 1, 6, None, 1, Arrangement("train", 1, 1, use_gpu=True)),
        (64, 8, 42, None, 4, Arrangement("train", 2, 4, use_gpu=True)),
        (64, 8, 42, "inline", 1, Arrangement("inline", 8, 1, use_gpu=True)),
        (4, 8, 42, None, 1, Arrangement("train", 4, 1, use_gpu=True)),  # each worker also needs a CPU
    ],
)
def test_what_there_is_decides_by_which_launcher_and_how_many_at_once(
    cpus: int, gpus: int, jobs: int, launcher: LauncherName | None, workers: int, expected: Arrangement
) -> None:
    assert arrange(Machines(cpus, gpus, "here"), jobs, launcher, workers) == expected


@pytest.mark.parametrize(
    ("cpus", "gpus", "launcher", "workers", "found"),
    [
        (2, 0, None, 4, "--workers to at most 2"),
        (16, 2, None, 4, "--workers to at most 2"),
        (2, 0, "inline", 2, "--launcher train"),
        (2, 0, None, 0, "at least one"),
        (0, 0, None, 1, "has no CPUs"),
    ],
)
def test_a_run_that_fits_nowhere_is_refused(
    cpus: int, gpus: int, launcher: LauncherName | None, workers: int, found: str
) -> None:
    with pytest.raises(NotEnoughMachines, match=found):
        arrange(Machines(cpus, gpus, "here"), 6, launcher, workers)


GB = 1_000_000_000


@pytest.mark.parametrize(
    ("machines", "jobs", "share", "expected"),
    [
        (Machines(64, 8, "here"), 20, 0.5, Arrangement("inline", 16, 1, use_gpu=True, share=0.5)),
        (Machines(64, 8, "here"), 20, 0.25, Arrangement("inline", 20, 1, use_gpu=True, share=0.25)),
        (Machines(4, 1, "here"), 20, 0.1, Arrangement("inline", 4, 1, use_gpu=True, share=0.1)),  # each needs a CPU
        (Machines(64, 2, "here"), 20, 0.3, Arrangement("inline", 6, 1, use_gpu=True, share=0.3)),  # none on two GPUs
        (Machines(2, 0, "here"), 20, 0.25, Arrangement("inline", 2, 1, use_gpu=False)),
    ],
)
def test_runs_that_share_a_gpu_are_as_many_as_there_are_whole_shares_and_cpus(
    machines: Machines, jobs: int, share: float, expected: Arrangement
) -> None:
    assert arrange(machines, jobs, share=share) == expected


@pytest.mark.parametrize("n", range(1, 9))
def test_a_share_that_auto_gives_lets_as_many_lie_on_a_gpu_as_it_counted_with(n: int) -> None:
    share = share_of_a_gpu(AUTO, peak=0, free=100 * GB, runs=n, gpus=1, cpus=64)
    assert on_one_gpu(share) == n
    assert n * share <= 1


@pytest.mark.parametrize(
    ("peak", "free", "runs", "gpus", "cpus", "workers", "together"),
    [
        (8 * GB, 80 * GB, 100, 1, 64, 1, 7),  # 9.6 GB and 1 GB each
        (43 * GB, 80 * GB, 100, 8, 64, 1, 1),  # a second one would not fit
        (90 * GB, 80 * GB, 100, 8, 64, 1, 1),  # nor would the first: its own trainer refuses it, by name
        (1 * GB, 80 * GB, 20, 8, 64, 1, 3),  # no GPU has four while another has nothing
        (1 * GB, 80 * GB, 8, 8, 64, 1, 1),
        (1 * GB, 80 * GB, 100, 8, 16, 1, 2),  # a CPU for each
        (1 * GB, 80 * GB, 100, 1, 64, 1, 8),  # they take turns; more only wait
        (1 * GB, 80 * GB, 100, 8, 64, 2, 1),  # a worker has a GPU
        (1 * GB, None, 100, 8, 64, 1, 1),  # no one knows what is free
        (1 * GB, None, 100, 0, 64, 1, 1),
    ],
)
def test_auto_packs_by_what_a_run_needs_what_is_free_and_how_many_there_are(
    peak: int, free: int | None, runs: int, gpus: int, cpus: int, workers: int, together: int
) -> None:
    share = share_of_a_gpu(AUTO, peak=peak, free=free, runs=runs, gpus=gpus, cpus=cpus, workers=workers)
    assert on_one_gpu(share) == together


@pytest.mark.parametrize(("text", "meant"), [("auto", AUTO), ("0.25", 0.25), ("1", 1.0)])
def test_a_share_is_read(text: str, meant: GpusPerRun) -> None:
    assert read_gpus_per_run(text, workers=1, gpus=8) == meant


@pytest.mark.parametrize(
    ("text", "workers", "gpus", "found"),
    [
        ("half", 1, 8, "no number; expected auto, or a share of a GPU, as 0.25"),
        ("0", 1, 8, "from 0.01 to 1"),
        ("-1", 1, 8, "from 0.01 to 1"),
        ("nan", 1, 8, "from 0.01 to 1"),
        ("inf", 1, 8, "from 0.01 to 1"),
        ("1.5", 1, 8, "from 0.01 to 1"),
        ("2", 1, 8, "set --workers 2 instead"),
        ("0.5", 2, 8, "with --workers 2"),
        ("0.5", 1, 0, "there is no GPU here"),
    ],
)
def test_what_is_no_share_or_goes_with_nothing_else_is_refused(text: str, workers: int, gpus: int, found: str) -> None:
    with pytest.raises(BadShare, match=found):
        read_gpus_per_run(text, workers=workers, gpus=gpus)


def test_what_a_search_may_propose_at_most_needs_no_less_than_any_proposal() -> None:
    base = recipe("trm", "sudoku")
    space = (
        Dimension(setting="model.n_layers", range=Integers(low=1, high=4)),
        Dimension(setting="model.mixer", range=Choices(values=("mlp", "attention"))),
        Dimension(setting="optim.lr", range=Floats(low=1e-4, high=1e-2, log=True)),
        Dimension(setting="model.n_heads", range=Choices(values=(2, 7)), when={"model.mixer": ("attention",)}),
    )
    most = peak_bytes(largest(base, space))
    for layers in range(1, 5):
        for mixer in ("mlp", "attention"):
            assert peak_bytes(base.set([f"model.n_layers={layers}", f"model.mixer={mixer}"])) <= most


# --- on GPUs that Ray only counts ------------------------------------------------------------------------------------

SEARCH = """
from sweeps.search_spec import Confirmation, Dimension, Floats, Objective, Search
from sweeps.study import Row

search = Search(
    name="tiny",
    title="Tiny",
    puzzle="sudoku",
    row=Row(name="TRM k=1, T=1", base="trm", change={"model": {"n": 2, "T": 1}}),
    space=(Dimension(setting="optim.lr", range=Floats(low=1e-4, high=1e-2, log=True)),),
    objectives=(Objective(metric="validation/exact_accuracy", direction="maximize"),),
    trials=10,
    lag=10,
    confirmation=Confirmation(best=1, seeds=1),
)
"""
SMALL = (
    "train.steps=4 train.batch_size=8 train.eval_every=2 model.D=16 model.n_heads=2 model.N_sup=2"
    " data.train=12 data.validation=4 data.test=6"
)


@pytest.mark.kills
@pytest.mark.timeout(1800)
def test_trials_are_packed_on_counted_gpus_as_planned_and_all_end(tmp_path: Path) -> None:
    (tmp_path / "tiny.py").write_text(SEARCH)
    root = str(Path(command.__file__).resolve().parents[1])
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("RAY_ADDRESS", "MLFLOW"))}
    environment |= {"PYTHONPATH": root, "RAY_AUTH_MODE": "token", "OMP_NUM_THREADS": "1"}
    environment.pop("CUDA_VISIBLE_DEVICES", None)
    program = [sys.executable, "-m", "tests.sweeps.logical_gpus", "6", "8", "6"]
    with subprocess.Popen(program, env=environment, stdin=-1, stdout=-1, text=True, cwd=root) as ray:
        assert ray.stdout is not None
        address = ray.stdout.readline().strip()
        arguments = ["--search", "tiny.py", "--profile", "mini", "--gpus-per-run", "0.5", "--set", *SMALL.split()]
        answer = subprocess.run(
            [sys.executable, command.__file__, *arguments],
            cwd=tmp_path,
            env=environment | {"RAY_ADDRESS": address, "TRM_LOGICAL_GPUS": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        least, _ = ray.communicate()
    assert answer.returncode == 0, answer.stderr
    assert "6 run(s) at once, each in one process, 0.5 of a GPU" in " ".join(answer.stdout.split())
    assert json.loads(least) == {"GPU": 8 - 6 * 0.5, "CPU": 0}, "six halves of GPUs at once, and no more"
    assert "10 trials (10 complete)" in answer.stdout
