"""The command: what it refuses, in what order, and how it ends."""

import contextlib
import json
import os
import pty
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from data_prep.sudoku import generate
from sweeps import run as command
from sweeps.campaign import VERSION, Campaign
from sweeps.ending import MLFLOW_UI
from sweeps.profiles import PROFILES, configure
from sweeps.puzzles import build_puzzles
from sweeps.records import pages
from sweeps.records.read import anywhere, campaigns, read_curve, read_runs, runs_of
from sweeps.records.types import RunRecord
from sweeps.study import find_study
from tests.sweeps.records.stores import ENDS, query
from trm_core.memory import gigabytes, peak_bytes

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "sweeps" / "run.py"
SMALL = [
    "--set",
    "train.steps=4",
    "train.batch_size=8",
    "train.eval_every=2",
    "model.D=16",
    "model.n_heads=2",
    "model.N_sup=2",
]
FEW = ["--set", "data.train=12", "data.validation=4", "data.test=6"]
STUDY = ["--study", "recursion_depth"]
MINI = [*STUDY, "--profile", "mini", "--only", "k=1*"]


def _run(arguments: Sequence[str], cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: text for name, text in os.environ.items() if name not in ("RAY_ADDRESS", "MLFLOW_TRACKING_URI")
    }
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=cwd,
        env=environment | {"CUDA_VISIBLE_DEVICES": "", "RAY_ADDRESS": "local"} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def _refused(answer: subprocess.CompletedProcess[str]) -> str:
    """The one line of a user's mistake."""
    assert answer.returncode == 2, answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
    (line,) = answer.stderr.splitlines()
    assert line.startswith("error: ")
    return line.removeprefix("error: ")


@pytest.fixture(scope="module")
def small_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the published format with 4x4 puzzles."""
    folder = tmp_path_factory.mktemp("files")
    puzzles = generate(2, 2, train=20, validation=0, test=6, clues=8, seed=0)
    for name, split in (("train", puzzles.train), ("test", puzzles.test)):
        lines = ["source,question,answer,rating"]
        for given, answer in zip(split.inputs, split.labels, strict=True):
            question = "".join("." if token == 1 else str(token - 1) for token in given)
            lines.append(f"ours,{question},{''.join(str(token - 1) for token in answer)},0")
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return folder


# --- what is refused before anything is written ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no study; say --study recursion_depth"),
        (["--study", "recursoin_depth"], "did you mean recursion_depth?"),
        ([*STUDY, "--profile", "offical"], "did you mean official?"),
        ([*MINI, "--set", "model.d=96"], "model.d: no such setting; did you mean model.D?"),
        ([*MINI, "--set", "D=96"], "did you mean model.D?"),
        ([*MINI, "--set", "model.D=ninety"], "model.D='ninety': input should be a valid integer"),
        ([*MINI, "--set", "train.steps=0"], "train.steps=0: input should be greater than or equal to 1"),
        ([*MINI, "--set", "model.D"], "expected NAME=VALUE"),
        ([*MINI, "--set", "model.features=single z"], 'model.networks="separate"'),
        ([*MINI, "--set", "data.test=none"], "data.test"),
        ([*STUDY, "--profile", "mini", "--set", "model.n=2", "model.T=1", "--set-anyway"], "become the same run"),
        ([*STUDY, "--profile", "mini", "--set", "model.T=2"], "'HRM k=1, T=1'"),
        ([*STUDY, "--profile", "mini", "--set", "model.T=2"], "--set-anyway"),
        ([*MINI, "--only", "k=9"], "--only 'k=9' matches no row"),
        ([*MINI, "--seeds", "0"], "--seeds 0: expected a number of 1 or more"),
        ([*MINI, "--seeds", "many"], "--seeds many: 'many' is no seed"),
        ([*MINI, "--seeds=-1"], "--seeds -1: '-1' is no seed"),
        ([*MINI, "--seeds", "0-2,2"], "--seeds 0-2,2: seed 2 is there twice"),
        ([*MINI, "--seeds", "3-1"], "--seeds 3-1: 3-1 runs backwards; expected 1-3"),
        ([*MINI, "--data-seeds", "x"], "--data-seeds x: 'x' is no seed"),
        ([*MINI, "--set", "train.seed=5"], "--seeds"),
        ([*MINI, "--set", "data.seed=5"], "--data-seeds"),
        ([*MINI, "--seeds", "6000"], "12,000 runs (1 settings x 2 rows x 6,000 seeds), more than 10,000; add --yes"),
        ([*MINI, "--grid", "optim.lrr=1,2"], "did you mean optim.lr?"),
        ([*MINI, "--grid", "optim.lr=1e-3,0.001"], "optim.lr"),
        ([*MINI, "--grid", "optim.lr"], "--grid optim.lr"),
        ([*MINI, "--grid", "optim.lr=1,2", "--set", "optim.lr=3"], "--set optim.lr=3: --grid has values for that too"),
        ([*MINI, "--budget", "soon"], "--budget soon: no budget"),
        ([*MINI, "--budget", "$5"], "dollars without a price"),
        ([*MINI, "--plan", "--on", "h1000"], "did you mean h100?"),
        (["--study", "no_such_file.py"], "no_such_file.py"),
        (["status", "recursoin_depth"], "did you mean recursion_depth?"),
        ([*STUDY, "--print-config", "TRM k=3"], "TRM k=3, T=3"),
        ([*STUDY, "--diff", "TRM k=1, T=1", "nothing"], "nothing"),
        ([*MINI, "--workers", "3"], "--workers 3: they share train.batch_size=16"),
        ([*MINI, "--workers", "2", "--launcher", "inline"], "use --launcher train"),
        ([*MINI, "--workers", "4096", "--set", "train.batch_size=4096"], "set --workers to at most"),
        ([*MINI, "--launcher", "trian"], "argument --launcher: invalid choice: 'trian'"),
        (["--stud", "recursion_depth"], "unrecognized arguments: --stud"),
        ([*MINI, "--set", "data.puzzle=maze"], "'HRM k=1, T=1' is a row on sudoku"),
        ([*MINI, "--set", "maze:model.D=32"], "recursion_depth has no rows on maze"),
        (["--explain", "official", "papr"], "'papr': no such profile; did you mean paper?"),
        (["--explain", "mini", "mini"], "the same profile twice"),
        (["--explain", "mini"], "argument --explain: expected 2 arguments"),
        ([*STUDY, "--profile", "official"], "give --data FOLDER"),
        ([*STUDY, "--profile", "official", "--set", "data.source=generated", "data.test=9"], "--gpus 0 means CPUs all"),
        ([*STUDY, "--gpus", "3"], "--gpus 3: this machine has no GPU; join a cluster"),
        ([*STUDY, "--gpus", "-1"], "expected 0 or more"),
        ([*STUDY, "--gpus", "0", "--wait", "5"], "--wait is for the GPUs of --gpus N"),
        ([*STUDY, "--shard", "3/2"], "--shard 3/2: expected a part and of how many"),
        (["--search", "lr_wd", "--shard", "1/2"], "--shard with --search"),
        ([*STUDY, "--tune", "lr_wd", "--shard", "1/2"], "--shard with --tune"),
        (["--study", "puzzles", "--profile", "official"], "published puzzles of Sudoku and Maze; give --data sudoku="),
        (["--study", "puzzles", "--profile", "official", "--data", "here"], "say which is which: --data sudoku="),
        (["--study", "puzzles", "--profile", "official", "--data", "maze=nowhere"], "give --data sudoku=FOLDER"),
        ([*MINI, "--data", "maze=nowhere"], "none of these runs is on maze"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2_and_nothing_is_written(
    arguments: list[str], said: str, tmp_path: Path
) -> None:
    assert said in _refused(_run(arguments, tmp_path))
    assert list(tmp_path.iterdir()) == []


HEADER = "source,question,answer,rating"
QUESTION = r"(?<=\nours,)[^,]*"  # the first


def _contradict(text: str) -> str:
    """The first digit given in the first question becomes another one."""
    return re.sub(r"(?<=\nours,)(\.*)(\d)", lambda found: f"{found[1]}{int(found[2]) % 4 + 1}", text, count=1)


@pytest.mark.parametrize(
    ("spoil", "said", "also"),
    [
        (
            lambda text: text.replace("source,question", "question,source", 1),
            "train.csv, line 2: question has 4 characters, expected 36",
            [],
        ),
        (lambda text: re.sub(QUESTION, lambda found: found[0][1:], text, count=1), "question has 15 characters", []),
        (
            lambda text: re.sub(QUESTION, lambda found: "9" + found[0][1:], text, count=1),
            "train.csv, line 2: question has '9' at row 1, column 1, expected 1-4 or '.'",
            [],
        ),
        (_contradict, ", expected the question's '", []),
        (None, "train.csv: missing", []),
        (
            lambda text: re.sub(QUESTION, lambda found: found[0][1:], text, count=1),
            "question has 15 characters",
            ["--plan"],
        ),
        (None, "train.csv: missing", ["--plan"]),
    ],
    ids=[
        "a header that names the columns wrongly",
        "a short board",
        "a digit out of range",
        "an answer that contradicts its question",
        "no file",
        "a short board, --plan",
        "no file, --plan",
    ],
)
def test_a_bad_puzzle_file_is_one_line_and_nothing_is_written(
    spoil: Callable[[str], str] | None, said: str, also: list[str], small_files: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "puzzles"
    folder.mkdir()
    if spoil is not None:
        for name in ("train.csv", "test.csv"):
            text = (small_files / name).read_text()
            (folder / name).write_text(spoil(text) if name == "train.csv" else text)
    assert said in _refused(_run([*MINI, *FEW, "--data", str(folder), *also], tmp_path))
    assert list(tmp_path.iterdir()) == [folder]


def test_a_board_of_80_characters_among_the_published_puzzles_is_named_with_its_line(tmp_path: Path) -> None:
    folder = tmp_path / "puzzles"
    folder.mkdir()
    for name in ("train.csv", "test.csv"):
        lines = (ROOT / "tests" / "fixtures" / "sudoku-extreme" / name).read_text().splitlines(keepends=True)
        source, question, rest = lines[2].split(",", 2)
        lines[2] = f"{source},{question[:80]},{rest}"
        (folder / name).write_text("".join(lines))
    said = _refused(
        _run([*STUDY, "--profile", "official", "--gpus", "0", "--yes", *FEW, "--data", str(folder)], tmp_path)
    )
    assert "csv, line 3: question has 80 characters, expected 81 for 3x3 boxes" in said
    assert list(tmp_path.iterdir()) == [folder]


def test_a_puzzle_set_whose_arrays_do_not_match_its_manifest_is_named(tmp_path: Path) -> None:
    study = find_study("recursion_depth")
    settings = configure(study, study.rows[0], "mini", 0, FEW[1:]).data
    folder, _ = build_puzzles(settings, None, tmp_path / "results")
    array = folder / "train_labels.npy"
    content = bytearray(array.read_bytes())
    content[-1] ^= 1
    array.write_bytes(content)
    said = _refused(_run([*MINI, *SMALL, *FEW], tmp_path))
    assert f"{folder.name}: train_labels has sha256 " in said
    assert "the manifest says" in said
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "sqlite:////no/such/folder/mlflow.db"])
def test_an_mlflow_address_that_answers_nothing_is_said_before_anything_is_written(
    address: str, tmp_path: Path
) -> None:
    answer = _run([*MINI, *SMALL, *FEW], tmp_path, MLFLOW_TRACKING_URI=address)
    assert address in _refused(answer)
    assert list(tmp_path.iterdir()) == []


def test_a_python_without_our_dependencies_is_told_in_one_line_what_to_do(tmp_path: Path) -> None:
    bare = [sys.executable, "-S", str(SCRIPT), "--list"]  # -S: no installed packages
    answer = subprocess.run(bare, cwd=tmp_path, capture_output=True, text=True)
    assert "run `make install`" in _refused(answer)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    assert "choose another --out" in _refused(_run(MINI, tmp_path))


def test_more_than_a_gpu_hour_without_a_terminal_needs_yes(small_files: Path, tmp_path: Path) -> None:
    arguments = [*STUDY, "--profile", "official", "--gpus", "0", *FEW, "--data", str(small_files)]
    answer = _run(arguments, tmp_path)
    assert "add --yes" in _refused(answer)
    assert "left: 14 of 14" in answer.stdout  # the plan
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize("answer", ["n\n", "\x04"], ids=["n", "Ctrl-D"])
def test_at_a_terminal_a_person_is_asked_and_a_no_starts_nothing(
    answer: str, small_files: Path, tmp_path: Path
) -> None:
    controller, terminal = pty.openpty()
    arguments = [*STUDY, "--profile", "official", "--gpus", "0", *FEW, "--data", str(small_files)]
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        cwd=tmp_path,
        env=os.environ
        | {"CUDA_VISIBLE_DEVICES": "", "MLFLOW_TRACKING_URI": "sqlite:///mlflow.db", "RAY_ADDRESS": "local"},
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    said = b""
    with contextlib.suppress(OSError), open(controller, "r+b", buffering=0) as screen:  # it ends with an error: EIO
        while part := screen.read(1000):
            said += part
            if b"Start? [y/N] " in said and answer:
                screen.write(answer.encode())
                answer = ""
    assert process.wait() == 2, said.decode()
    assert said.decode().splitlines()[-1].startswith("error: not started")
    assert not (tmp_path / "mlflow.db").exists()


# --- what answers without starting anything --------------------------------------------------------------------------


def test_list_names_every_study_with_its_rows_profiles_and_number_of_runs(tmp_path: Path) -> None:
    answer = _run(["--list"], tmp_path)
    assert answer.returncode == 0
    for said in (
        "recursion_depth: Recursion depth",
        "mini 6, official 14, paper 14",
        "TRM k=3, T=6  [official, paper]",
    ):
        assert said in answer.stdout


def test_explain_prints_what_differs_between_two_profiles_where_and_why_within_100_columns(tmp_path: Path) -> None:
    answer = _run(["--explain", "official", "paper"], tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert max(len(line) for line in answer.stdout.splitlines()) <= 100
    said = " ".join(answer.stdout.split())
    for line in (
        "optim.name adam_atan2 adamw AdamW (paper, appendix)",
        "model.n 4 6 TRM on Maze, ARC: T=3, n=6 throughout (paper)",
        "train.steps 65,104 78,125 on Sudoku, Maze: 60k epochs",
        "model.puzzle_prefix 16 1 TRM: one position (paper)",
        "model.halting_loss_weight 0.5 1 the halting loss as it is (paper",
        "optim.ema_covers network all TRM: of all weights (paper",
        "data.augmentations 0 7 on Maze: 8 dihedral variants",
    ):
        assert line in said
    assert list(tmp_path.iterdir()) == []


def test_explain_compares_official_and_mini_on_all_three_puzzles(tmp_path: Path) -> None:
    answer = _run(["--explain", "official", "mini"], tmp_path)
    assert answer.returncode == 0, answer.stderr
    said = " ".join(answer.stdout.split())
    assert "optim.lr 0.0001 0.002 on Sudoku:" in said
    for words in ("on Sudoku: 6x6 puzzles", "on Maze: 5x5 mazes", "on ARC: ARC-like tasks"):
        assert words in said
    assert "compared on the rest" not in said


def test_explain_says_on_which_puzzles_it_cannot_compare(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(PROFILES, "mini", PROFILES["mini"].model_copy(update={"puzzles": ("sudoku",)}))
    assert command.main(["--explain", "official", "mini"]) == 0
    assert "mini has no Maze or ARC; compared on the rest." in capsys.readouterr().out


def test_explain_loads_no_torch_no_ray_and_no_mlflow() -> None:
    asked = "import sys; from sweeps.run import main; main(['--explain', 'official', 'paper']);"
    asked += "print('loaded', *sorted({'torch', 'ray', 'mlflow', 'optuna'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", asked], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "loaded"


def test_the_module_answers_as_the_script_does(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "sweeps.run", "--list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert answer.stdout == _run(["--list"], tmp_path).stdout


def test_plan_prints_every_run_with_its_cost_and_writes_nothing(tmp_path: Path) -> None:
    answer = _run([*STUDY, "--seeds", "2", "--plan"], tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert "no GPU found: profile mini" in answer.stdout
    line = next(line for line in answer.stdout.splitlines() if "TRM k=3, T=3 · seed 1" in line)
    run = configure(find_study("recursion_depth"), find_study("recursion_depth").rows[5], "mini", 1)
    cells = re.split(r"\s{2,}", line)
    assert cells[:5] == ["TRM k=3, T=3 · seed 1", "42", "1", f"{run.parameters():,}", gigabytes(peak_bytes(run))]
    assert "left: 12 of 12" in answer.stdout
    assert " on this CPU" in " ".join(answer.stdout.split())  # of steps, or of matrix products where it is busy
    assert max(map(len, answer.stdout.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


# --- from settings to a table, in this process, on the one Ray of all tests -------------------------------------------


@pytest.fixture
def here(tmp_path: Path, mlflow_here: Path, ray_here: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to give the command in, with an MLflow of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    return tmp_path


def _report_of(study: str, profile: str = "mini") -> Path:
    """The folder of the only report of a study."""
    (path,) = Path("results", profile, study).rglob("campaign.json")
    return path.parent


def _ended() -> dict[str, tuple[str, object]]:
    """Every run's status and when it ended."""
    return {record.row: (record.status, record.ended) for record in read_runs("recursion_depth", "mini")}


@pytest.mark.ray
def test_a_study_ends_with_its_table_and_the_same_command_again_trains_nothing(
    here: Path, mlflow_here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main([*MINI, *SMALL, *FEW]) == 0
    said = capsys.readouterr().out
    ended = _ended()
    assert {row: status for row, (status, _) in ended.items()} == {
        "HRM k=1, T=1": "FINISHED",
        "TRM k=1, T=1": "FINISHED",
    }
    folder = _report_of("recursion_depth")
    for file in ("table.md", "table.csv", "table.tex", "page.html", "campaign.json"):
        assert (folder / file).is_file()
    for named in ("table.{md,csv,tex}", "page.html", "campaign.json"):
        assert named in said.partition(f"{folder}/\n")[2]
    assert "not comparable" in (folder / "table.md").read_text()
    shown = shlex.split(said.partition("the runs:")[2].replace("\\\n", ""))
    assert shown[1:6] == ["-m", "mlflow", "ui", "--backend-store-uri", f"sqlite:///{mlflow_here}"]
    (campaign,) = campaigns("recursion_depth")
    assert shown[8] == f"{MLFLOW_UI}{pages.address_of(campaign.experiment_id, campaign.id)}"
    assert not (here / "results" / "launches").exists()
    kept = {path.name for path in (here / "mlruns").rglob("*") if path.is_file()}
    assert {"config.json", "metrics.jsonl", "outcomes.npz", "MLmodel", "weights.safetensors", "table.md"} <= kept
    ends = query(mlflow_here, ENDS)

    assert command.main([*MINI, *SMALL, *FEW]) == 0
    assert _ended() == ended, "nothing is trained twice"
    assert query(mlflow_here, ENDS) == ends, "no run of MLflow's is begun again where nothing is left to do"
    assert "2 of 2 runs are done already" in " ".join(capsys.readouterr().out.split())

    assert command.main([*MINI, *SMALL, *FEW, "--seeds", "2", "--plan"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "left: 2 of 4" in said
    assert "finished runs of the same row on this device" in said


@pytest.mark.ray
def test_a_failed_run_is_named_the_table_is_made_without_it_and_it_alone_is_tried_again(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = [*SMALL[1:], *FEW[1:]]
    study = find_study("recursion_depth")
    settings = configure(study, study.rows[0], "mini", 0, overrides)
    _, puzzles = build_puzzles(settings.data, None, Path("results"))
    foreign = Path("results", "runs", settings.key(puzzles.content_hash), "checkpoints", "step_00000002")
    foreign.mkdir(parents=True)
    assert command.main([*MINI, *SMALL, *FEW]) == 1
    said = capsys.readouterr()
    assert "failed: HRM k=1, T=1 seed 0: BadCheckpoint: " in " ".join(said.err.split())
    assert "failed" in said.out
    table = (_report_of("recursion_depth") / "table.md").read_text()
    assert "no good checkpoint" in table
    before = _ended()
    assert (before["HRM k=1, T=1"][0], before["TRM k=1, T=1"][0]) == ("FAILED", "FINISHED")

    assert command.main([*MINI, *SMALL, *FEW]) == 1
    said = capsys.readouterr()
    assert "1 failed earlier and stay so; --retry-failed tries them again" in " ".join(said.out.split())
    assert "failed: HRM k=1, T=1 seed 0: BadCheckpoint: " in " ".join(said.err.split())
    assert _ended() == before, "a failed run is not tried again by itself"

    foreign.rmdir()
    assert command.main([*MINI, *SMALL, *FEW, "--retry-failed"]) == 0
    after = _ended()
    assert after["HRM k=1, T=1"][0] == "FINISHED"
    assert after["TRM k=1, T=1"] == before["TRM k=1, T=1"], "what finished is not run again"


@pytest.mark.ray
def test_puzzles_from_a_folder_bring_their_own_size(here: Path, small_files: Path) -> None:
    assert command.main([*MINI, *SMALL, *FEW, "--data", str(small_files)]) == 0
    settings = [record.params for record in read_runs("recursion_depth", "mini")]
    assert len(settings) == 2
    for each in settings:
        assert (each["data.source"], each["data.box_rows"], each["data.box_cols"]) == ("files", "2", "2")


@pytest.mark.ray
def test_a_study_on_two_puzzles_trains_each_row_on_its_own_set_and_the_same_command_again_trains_nothing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["data.train=12", "data.validation=4", "data.test=6", "maze:data.side=5", "maze:data.least_path=6"]
    asked = ["--study", "puzzles", "--profile", "mini", "--only", "direct*", *SMALL, *sizes]
    assert command.main(asked) == 0
    assert len(list((here / "results" / "data").iterdir())) == 2
    runs = {record.tags["data"]: record for record in read_runs("puzzles", "mini")}
    assert sorted((run.params["data.puzzle"], run.status) for run in runs.values()) == [
        ("maze", "FINISHED"),
        ("sudoku", "FINISHED"),
    ]
    assert all("leaks" not in run.tags for run in runs.values())
    assert [name for name in sorted(runs.values(), key=lambda run: run.row)[0].metrics if "shortest" in name] != []
    for data_hash, run in runs.items():
        config = json.loads((here / "results" / "runs" / run.key / "config.json").read_text())
        assert (config["data"], config["settings"]["data"]["puzzle"]) == (data_hash, run.params["data.puzzle"])
    table = (_report_of("puzzles") / "table.md").read_text()
    assert "Maze-Hard" in table
    assert "DeepSeek R1" in table
    capsys.readouterr()
    assert command.main(asked) == 0
    assert "2 of 2 runs are done already" in " ".join(capsys.readouterr().out.split())
    shutil.rmtree("results/data")
    assert command.main([*asked, "--plan"]) == 0
    assert "left: 0 of 2" in capsys.readouterr().out


@pytest.mark.ray
def test_a_document_that_is_torn_is_written_anew_and_one_of_a_newer_program_is_left_alone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [*STUDY, "--profile", "mini", "--only", "TRM k=1*", *SMALL, *FEW]
    assert command.main(asked) == 0
    kept_too = [path.name for path in here.glob("mlruns/*/*/artifacts/*.npz")]
    assert sorted(kept_too) == ["outcomes.npz", "thought.npz"]
    (kept,) = here.glob("mlruns/*/*/artifacts/campaign.json")
    document = kept.read_text()
    kept.write_text(document[:500])
    assert command.main(asked) == 0
    assert json.loads(kept.read_text())["runs"] == json.loads(document)["runs"]
    for path in (kept, _report_of("recursion_depth") / "campaign.json"):
        sound, newer = path.read_text(), path.read_text().replace(f'"version": {VERSION}', '"version": 7')
        path.write_text(newer)
        capsys.readouterr()
        assert command.main([*asked, "--seeds", "2"]) == 2
        assert "a campaign document of version 7" in capsys.readouterr().err
        assert path.read_text() == newer
        assert [run.status for run in read_runs("recursion_depth", "mini")] == ["FINISHED"]
        path.write_text(sound)


@pytest.mark.ray
def test_a_grid_leaves_a_report_of_each_setting_and_a_comparison_and_shares_what_rows_have_in_common(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = ["--grid", "trm:optim.lr=1e-3,2e-3", "trm:optim.weight_decay=0.2,1"]
    assert command.main([*MINI, *SMALL, *FEW, *grid]) == 0
    said = capsys.readouterr().out
    documents = [json.loads(path.read_text()) for path in Path("results").rglob("campaign.json")]
    assert len({document["id"] for document in documents}) == len(documents) == 4
    (comparison,) = Path("results/mini/recursion_depth").glob("grid-*")
    assert {path.name for path in comparison.iterdir()} >= {"comparison.md", "comparison.csv", "comparison.png"}
    assert str(comparison) in said
    assert len(list(Path("results/runs").iterdir())) == 5, "HRM is one run in all four, TRM four"
    trained = [run for run in anywhere([run["key"] for each in documents for run in each["runs"]]) if not run.is_reused]
    assert sorted(run.row for run in trained) == ["HRM k=1, T=1", *["TRM k=1, T=1"] * 4]
    assert {run.status for run in trained} == {"FINISHED"}
    for document in documents:
        ours, _ = runs_of(Campaign.model_validate(document))
        assert [(run.status, run.campaign) for run in ours.runs] == [("FINISHED", document["id"])] * 2


def test_an_error_of_ours_that_no_user_made_is_shown_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("a bug")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "conduct", broken)
    with pytest.raises(ValueError, match="a bug"):
        command.main([*MINI, *SMALL, *FEW])


# --- the whole command, in a process of its own ----------------------------------------------------------------------


# A trial waits until each of its reports is taken (one in PASS_ON_EVERY_S), so a run of several never ends by itself
# between a signal to the command and what the command does then.
LONG = ["--set", "train.steps=600", "train.batch_size=8", "train.checkpoint_every=50", "train.eval_every=300"]
LONG += ["model.D=16", "model.n_heads=2", "model.N_sup=2"]


def _start(cwd: Path, *, start_new_session: bool = False) -> subprocess.Popen[str]:
    """The command, until it has written a checkpoint of a run."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *MINI, *LONG, *FEW],
        cwd=cwd,
        env=os.environ
        | {"CUDA_VISIBLE_DEVICES": "", "MLFLOW_TRACKING_URI": f"sqlite:///{cwd}/mlflow.db", "RAY_ADDRESS": "local"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=start_new_session,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # it may be ignored where the tests run
    )
    while not list(cwd.glob("results/runs/*/checkpoints/step_*")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    return process


def _records(cwd: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunRecord]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{cwd}/mlflow.db")
    return read_runs("recursion_depth", "mini")


@pytest.mark.kills
@pytest.mark.ray
@pytest.mark.slow
def test_a_study_ended_by_ctrl_c_and_given_again_ends_as_one_never_stopped(
    here: Path, mlflow_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = here / "stopped"
    stopped.mkdir()
    process = _start(stopped)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[0]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    again = said.partition("the same command continues from the last checkpoints:")[2]
    python, *rest = shlex.split(again.replace("\\\n", ""))
    assert Path(shutil.which(python) or "").samefile(sys.executable)
    assert rest == [str(SCRIPT), *MINI, *LONG, *FEW]
    assert {record.status for record in _records(stopped, monkeypatch)} == {"KILLED"}

    answer = _run([*MINI, *LONG, *FEW], stopped, MLFLOW_TRACKING_URI=f"sqlite:///{stopped}/mlflow.db")
    assert answer.returncode == 0, answer.stdout + answer.stderr

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{mlflow_here}")
    assert command.main([*MINI, *LONG, *FEW]) == 0  # the same study, never stopped
    results = []
    for folder in (stopped, here):
        records = _records(folder, monkeypatch)
        assert sorted(record.status for record in records) == ["FINISHED", "FINISHED"]
        curves = {record.row: read_curve(record.run_id, "train/loss") for record in records}
        metrics = {
            record.row: {name: v for name, v in record.metrics.items() if not name.startswith("time/")}
            for record in records
        }
        results.append((metrics, curves))
        with contextlib.closing(sqlite3.connect(folder / "mlflow.db")) as database:
            (children,) = database.execute("SELECT count(*) FROM tags WHERE key = 'key'").fetchone()
            (doubled,) = database.execute(
                "SELECT count(*) - count(DISTINCT run_uuid || key || step) FROM metrics"
            ).fetchone()
        assert (children, doubled) == (2, 0)
    assert results[0] == results[1]


@pytest.mark.kills
def test_a_signal_to_the_whole_process_group_ends_the_command_as_ctrl_c_does(
    mlflow_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed terminal, as `timeout` and batch systems do: Ray, brought up by the command, must not go first."""
    process = _start(tmp_path, start_new_session=True)
    os.killpg(process.pid, signal.SIGHUP)
    said = process.communicate()[0]
    assert process.returncode == 130, said
    assert "the same command continues" in said
    assert {record.status for record in _records(tmp_path, monkeypatch)} == {"KILLED"}


@pytest.mark.kills
def test_results_that_go_away_under_a_study_are_said_and_nothing_is_made_in_their_place(
    mlflow_here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a disk that is unmounted, or a share whose server has gone."""
    process = _start(tmp_path)
    results = tmp_path / "results"
    results.rename(away := tmp_path / "away")
    said = " ".join(process.communicate()[0].split())
    assert process.returncode == 2, said
    assert "Traceback" not in said
    assert (
        "error: results is not there any more; see that its disk is mounted, then give the same command again" in said
    )
    assert not results.exists()
    assert {record.status for record in _records(tmp_path, monkeypatch)} == {"KILLED"}
    assert list(away.glob("runs/*/checkpoints/step_*"))  # from which the same command goes on
    assert not list(away.rglob("failure.txt"))


@pytest.mark.kills
@pytest.mark.ray
@pytest.mark.slow
def test_two_commands_on_one_store_and_two_folders_share_the_runs_and_both_end_with_every_one(
    tmp_path: Path, mlflow_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        commands.append(
            subprocess.Popen(
                [sys.executable, str(SCRIPT), *MINI, *SMALL, *FEW, "--seeds", "3"],
                cwd=tmp_path / name,
                env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "RAY_ADDRESS": "local"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    said = [process.communicate()[0] for process in commands]
    assert [process.returncode for process in commands] == [0, 0], said
    assert [(status, reused) for _, status, reused in _children(mlflow_here)] == [("FINISHED", False)] * 6
    keys = [{path.name for path in (tmp_path / name / "results" / "runs").iterdir()} for name in ("one", "other")]
    assert len(keys[0] | keys[1]) == 6
    assert not keys[0] & keys[1], "no run was begun in both folders"
    reports = [next((tmp_path / name).rglob("table.md")).read_bytes() for name in ("one", "other")]
    assert reports[0] == reports[1]


def _children(store: Path) -> list[tuple[str, str, bool]]:
    """(key, status, whether it stands for another campaign's) of every training run in the database."""
    with contextlib.closing(sqlite3.connect(store)) as database:
        return sorted(
            database.execute(
                "SELECT t.value, r.status, EXISTS (SELECT 1 FROM tags o WHERE o.run_uuid = r.run_uuid"
                " AND o.key = 'reused_from') FROM runs r JOIN tags t ON t.run_uuid = r.run_uuid AND t.key = 'key'"
                " WHERE r.lifecycle_stage = 'active'"
            )
        )


@pytest.mark.ray
@pytest.mark.slow
def test_every_row_runs_on_puzzles_in_the_published_format_and_the_study_ends_with_its_table(here: Path) -> None:
    settings = ["train.steps=2", "train.batch_size=4", "train.precision=fp32", "model.D=16", "model.n_heads=2"]
    settings += ["model.N_sup=2", "data.train=8", "data.validation=4", "data.test=4"]
    files = ROOT / "tests" / "fixtures" / "sudoku-extreme"
    assert command.main([*STUDY, "--profile", "official", "--gpus", "0", "--data", str(files), "--set", *settings]) == 0
    table = (_report_of("recursion_depth", "official") / "table.csv").read_text()
    for row in find_study("recursion_depth").rows:
        assert row.name in table
    assert len(list((here / "results" / "runs").iterdir())) == 14
