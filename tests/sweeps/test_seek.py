"""A search by its command: trials, confirmation, what the same command does again, and what is refused."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps import run as command
from sweeps.records.read import read_runs
from sweeps.records.types import RunRecord
from sweeps.search import read_trials
from sweeps.trials import Trial
from tests.sweeps.records.stores import ENDS, query

STORAGE = "sqlite:///optuna.db"
SMALL = [
    "--set",
    "train.steps=10",
    "train.batch_size=8",
    "train.eval_every=5",
    "model.D=16",
    "model.n_heads=2",
    "model.N_sup=2",
    "data.train=12",
    "data.validation=4",
    "data.test=6",
]
DECLARED = """
from sweeps.search_spec import Choices, Confirmation, Dimension, Floats, Objective, Pruning, Search
from sweeps.study import Row

search = Search(
    name="tiny",
    title="Tiny",
    puzzle="sudoku",
    row=Row(name="TRM k=1, T=1", base="trm", change={"model": {"n": 2, "T": 1}}),
    space=(SPACE,),
    objectives=(Objective(metric="METRIC", direction="maximize"),),
    trials=6,
    lag=2,
    startup=3,
    confirmation=Confirmation(best=2, seeds=1),
)
"""
LR = 'Dimension(setting="optim.lr", range=Floats(low=1e-4, high=3e-2, log=True))'


def _declare(folder: Path, *, space: str = LR, metric: str = "validation/exact_accuracy", also: str = "") -> list[str]:
    """The command for a search that is declared here."""
    text = DECLARED.replace("SPACE", space).replace("METRIC", metric).replace("    lag=2,\n", also or "    lag=2,\n")
    (folder / "tiny.py").write_text(text)
    return ["--search", "tiny.py", "--profile", "mini", "--optuna-storage", STORAGE, *SMALL]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to give the command in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


def _trials() -> tuple[Trial, ...]:
    (name,) = _names()
    return read_trials(name, STORAGE)


def _names() -> list[str]:
    with sqlite3.connect("optuna.db") as database:
        return [name for (name,) in database.execute("SELECT study_name FROM studies")]


def _runs() -> tuple[dict[str, RunRecord], dict[str, RunRecord]]:
    """The runs in MLflow by their keys: of trials, and those that confirmed the best."""
    runs = read_runs("search_tiny", "mini")
    confirmed = {run.key: run for run in runs if run.row.endswith("confirmed")}
    return {run.key: run for run in runs if run.key not in confirmed}, confirmed


def _looked_at_test(run: RunRecord) -> bool:
    return any(name.startswith("test/") for name in run.metrics)


# --- trials and their runs -------------------------------------------------------------------------------------------


@pytest.mark.ray
def test_a_search_ends_confirmed_trains_nothing_again_and_is_extended(
    here: Path, mlflow_here: Path, ray_here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = _declare(here)
    assert command.main(tiny) == 0
    first = _trials()
    assert [trial.state for trial in first] == ["complete"] * 6
    assert len({trial.keys for trial in first}) == 6
    runs, confirmed = _runs()
    assert {key for trial in first for key in trial.keys} == set(runs)
    assert {run.status for run in (*runs.values(), *confirmed.values())} == {"FINISHED"}
    assert {key: run.tags["trial"] for key, run in runs.items()} == {
        key: str(trial.number) for trial in first for key in trial.keys
    }
    assert not any(map(_looked_at_test, runs.values())), "selection never sees the test set"
    assert len(confirmed) == 2
    assert all(map(_looked_at_test, confirmed.values()))
    assert {run.seed for run in confirmed.values()} == {1}, "a seed that the search has not seen"
    said = capsys.readouterr().out
    (page,) = here.rglob("results/mini/search_tiny/**/page.html")
    assert f"{page.parent.relative_to(here)}/" in said
    ends = query(mlflow_here, ENDS)

    assert command.main(tiny) == 0
    assert query(mlflow_here, ENDS) == ends, "no run of MLflow's is begun again where nothing is left to do"
    assert _trials() == first
    assert _runs() == (runs, confirmed), "nothing is trained twice"
    assert "6 of 6 trials are done already, and the best are confirmed" in " ".join(capsys.readouterr().out.split())

    assert command.main([*tiny, "--trials", "8"]) == 0
    extended = _trials()
    assert extended[:6] == first
    assert [trial.state for trial in extended] == ["complete"] * 8
    assert {key: run for key, run in _runs()[0].items() if key in runs} == runs
    assert len(_runs()[0]) == len({key for trial in extended for key in trial.keys})


@pytest.mark.ray
def test_a_trial_that_fails_leaves_the_others_results_untouched(
    here: Path, mlflow_here: Path, ray_here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = _declare(here, space='Dimension(setting="optim.lr", range=Choices(values=(1e-3, 2e-3, 1e6)))')
    assert command.main(tiny) == 1
    trials = _trials()
    assert {trial.state for trial in trials} == {"complete", "failed"}
    for trial in trials:
        diverges = trial.params["optim.lr"] == 1e6
        assert trial.state == ("failed" if diverges else "complete")
        assert bool(trial.why) == diverges
        assert bool(trial.values) != diverges
    assert "failed: " in capsys.readouterr().err
    assert {run.state for run in _runs()[1].values()} == {"finished"}, "the best are confirmed all the same"


PRUNED = """    lag=1,
    pruning=Pruning(rungs=(0.3,), metric="validation/lm_loss", measured=(1.0,), startup=1),
"""
RATES = 'Dimension(setting="optim.lr", range=Floats(low=1e-5, high=3e-2, log=True))'


@pytest.mark.kills
@pytest.mark.ray
def test_a_bad_trial_is_pruned_the_same_whether_the_search_was_interrupted_or_not(
    tmp_path_factory: pytest.TempPathFactory,
    empty_mlflow: Path,
    ray_here: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = []
    for commands in ([["--trials", "5"]], [["--trials", "4"], ["--trials", "5"]]):
        here = tmp_path_factory.mktemp("pruned")
        shutil.copy(empty_mlflow, here / "mlflow.db")
        monkeypatch.chdir(here)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here / 'mlflow.db'}")
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        tiny = [*_declare(here, space=RATES, also=PRUNED), "--set", "train.steps=20"]
        (here / "tiny.py").write_text((here / "tiny.py").read_text().replace("best=2", "best=1"))
        for more in commands:
            assert command.main([*tiny, *more]) == 0
        trials = _trials()
        found.append([(t.params, t.state, t.values, t.curve, t.pruning_curve) for t in trials])
        pruned = [trial for trial in trials if trial.state == "pruned"]
        assert pruned
        assert all(max(trial.pruning_curve) == 10 for trial in pruned), "the first measurement after step 6"
        runs, _ = _runs()
        for trial in pruned:
            (run,) = [runs[key] for key in trial.keys]
            assert (run.status, run.tags["state"]) == ("KILLED", "pruned"), "a study that shares it trains it on"
    assert found[0] == found[1]
    capsys.readouterr()
    assert command.main(["--pruning-report", *tiny[1:]]) == 0
    assert "what validation/lm_loss says of the end" in capsys.readouterr().out
    assert list(here.rglob("results/mini/search_tiny/**/pruning.csv"))


@pytest.mark.kills
@pytest.mark.timeout(1800)
def test_a_search_that_prunes_proposes_and_prunes_the_same_however_often_its_driver_is_killed(
    tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path
) -> None:
    found = []
    for kills in ((), (2,)):  # once so many trials have ended
        here = tmp_path_factory.mktemp("killed")
        shutil.copy(empty_mlflow, here / "mlflow.db")
        tiny = [*_declare(here, space=RATES, also=PRUNED), "--set", "train.steps=20", "--trials", "4"]
        (here / "tiny.py").write_text((here / "tiny.py").read_text().replace("best=2", "best=1"))
        storage = f"sqlite:///{here / 'optuna.db'}"
        tiny[tiny.index(STORAGE)] = storage
        environment = os.environ | {"RAY_ADDRESS": "local", "CUDA_VISIBLE_DEVICES": ""}
        environment |= {"MLFLOW_TRACKING_URI": f"sqlite:///{here / 'mlflow.db'}"}
        of_search = [sys.executable, str(Path(command.__file__)), *tiny]
        for n in kills:
            with subprocess.Popen(of_search, cwd=here, env=environment, stdin=-3, stdout=-3, stderr=-3) as driver:
                while driver.poll() is None and _n_ended(here / "optuna.db") < n:
                    time.sleep(0.1)
                driver.kill()
            assert driver.returncode == -signal.SIGKILL, "it had ended before"
        answer = subprocess.run(of_search, cwd=here, env=environment, stdin=-3, capture_output=True, text=True)
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.count("starting Ray") == 1, "a second, for the confirmation, would end it before the page"
        assert "On the Ray of this command" in answer.stdout
        assert list(here.rglob("results/mini/search_tiny/**/page.html"))
        with sqlite3.connect(here / "optuna.db") as database:
            ((name,),) = database.execute("SELECT study_name FROM studies")
        trials = read_trials(name, storage)
        found.append([(t.params, t.state, t.values, t.curve, t.pruning_curve) for t in trials])
        assert {trial.state for trial in trials} == {"complete", "pruned"}
        with sqlite3.connect(here / "mlflow.db") as database:
            keys = [key for (key,) in database.execute("SELECT value FROM tags WHERE key = 'key'")]
        assert len(keys) == len(set(keys)), "no run is there twice"
        assert len(keys) == 5, "four trials, and the best again"
    assert found[0] == found[1]


def _n_ended(storage: Path) -> int:
    """Trials that have ended; none while there is no storage yet."""
    if not storage.exists():
        return 0
    with sqlite3.connect(storage, timeout=30) as database:
        ((n,),) = database.execute("SELECT count(*) FROM trials WHERE state IN ('COMPLETE', 'PRUNED')")
    return int(n)


# --- what is refused -------------------------------------------------------------------------------------------------


def _refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of a user's mistake."""
    assert command.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize(
    ("space", "metric", "more", "said"),
    [
        ("", "validation/exact_accuracy", [], "space"),
        (LR[:-1] + ', when={"model.mixr": ("mlp",)})', "validation/exact_accuracy", [], "did you mean model.mixer?"),
        (LR, "test/exact_accuracy", [], "a search never sees the test set; did you mean validation/exact_accuracy?"),
        (LR, "validation/exact", [], "runs do not record it"),
        (LR, "validation/exact_accuracy", ["--trials", "0"], "--trials 0: expected 1 or more"),
        (LR, "validation/exact_accuracy", ["--budget", "1s"], "--budget 1s: the shortest run"),
        (LR, "validation/exact_accuracy", ["--optuna-storage", "postgresql://127.0.0.1:9/x"], "nothing answers"),
        (LR, "validation/exact_accuracy", ["--optuna-storage", "sqlite:///nowhere/optuna.db"], "no folder nowhere"),
        (LR, "validation/exact_accuracy", ["--search", "lr_dw"], "did you mean lr_wd?"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_and_nothing_is_written(
    space: str, metric: str, more: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = _declare(here, space=space, metric=metric)
    if not space:
        (here / "tiny.py").write_text((here / "tiny.py").read_text().replace("space=(,)", "space=()"))
    assert said in _refused([*tiny, *more], capsys)
    assert [path.name for path in here.iterdir() if path.name != "__pycache__"] == ["tiny.py"]


def test_a_storage_of_another_search_is_one_line_and_stays_as_it_was(
    here: Path, mlflow_here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sweeps.seek.leave_document", stop)
    assert command.main(_declare(here)) == 130  # it has been opened, and no more
    capsys.readouterr()
    before = (here / "optuna.db").read_bytes()
    said = _refused(_declare(here, also="    lag=3,\n"), capsys)
    assert "holds another search under this name (other lag)" in said
    assert (here / "optuna.db").read_bytes() == before
