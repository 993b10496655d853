"""From an MLflow store to files, and the command's words for what a user can mend."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reports import report
from reports.__main__ import main
from reports.collect import collect, with_losses
from reports.report import render
from sweeps.plan import Job
from sweeps.profiles import configure
from sweeps.study import Study, find_study
from sweeps.tracking import Measurement, Tracker
from tests.reports.records import DATA, START, record

ROOT = Path(__file__).parents[2]
FILES = {
    "table.md",
    "table.csv",
    "runs.csv",
    "table.tex",
    "page.html",
    "figures/accuracy_against_depth.png",
    "figures/accuracy_against_depth.svg",
    "figures/learning_curves.png",
    "figures/learning_curves.svg",
}


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def small_report(study: Study, out: Path) -> report.Report:
    table = collect(study, "mini", [record(study, "TRM k=1", 0.9), record(study, "HRM k=1", 0.5)])
    curves = {
        (run.run_id, metric): [(10, 0.3), (20, 0.6)]
        for row in table.rows
        for run in row.runs
        for metric in ("test/exact_accuracy", "train/loss")
    }
    return render(table, curves, out)


def test_two_reports_of_the_same_runs_are_the_same_bytes(study: Study, tmp_path: Path) -> None:
    first = files_below(small_report(study, tmp_path / "a").folder)
    second = files_below(small_report(study, tmp_path / "b").folder)
    assert set(first) == FILES
    assert [name for name in first if first[name] != second[name]] == []


def test_a_report_lies_below_profile_and_study_and_says_which_files_it_wrote(study: Study, tmp_path: Path) -> None:
    written = small_report(study, tmp_path)
    assert written.folder == tmp_path / "mini" / "small_depth"
    assert set(written.files) == set(files_below(written.folder)) == FILES
    assert str(tmp_path) not in b"".join(files_below(written.folder).values()).decode(errors="replace")


def test_a_study_without_places_has_the_figure_of_rows_in_place_of_the_one_of_depths(
    study: Study, tmp_path: Path
) -> None:
    rows = tuple(row.model_copy(update={"place": {}}) for row in study.rows)
    plain = study.model_copy(update={"rows": rows})
    written = render(collect(plain, "mini", [record(plain, "TRM k=1", 0.9)]), {}, tmp_path).files
    assert [name for name in written if name.endswith(".png")] == ["figures/accuracy_by_row.png"]
    assert "row by row" in (tmp_path / "mini" / "small_depth" / "page.html").read_text()


def test_a_figure_that_can_no_longer_be_drawn_does_not_stay_behind(study: Study, tmp_path: Path) -> None:
    folder = small_report(study, tmp_path).folder
    render(collect(study, "mini", [record(study, "TRM k=1", None, status="KILLED")]), {}, tmp_path)
    assert set(files_below(folder)) == {name for name in FILES if not name.startswith("figures/")}


def test_a_table_of_losses_has_one_figure_with_all_curves(losses_study: Study, tmp_path: Path) -> None:
    records = [record(losses_study, row.name, 0.0, profile="official") for row in losses_study.rows]
    table = collect(losses_study, "official", records)
    curves = {(run.run_id, "train/lm_loss"): [(10, 2.0), (20, 1.0)] for row in table.rows for run in row.runs}
    written = render(with_losses(table, curves), curves, tmp_path).files
    assert [name for name in written if name.endswith(".png")] == ["figures/training_losses.png"]


def test_what_is_quoted_has_a_file_of_its_own(puzzles_study: Study, tmp_path: Path) -> None:
    written = render(collect(puzzles_study, "official", []), {}, tmp_path)
    assert "quoted.csv" in written.files
    assert set(written.files) == set(files_below(written.folder))
    again = render(collect(puzzles_study.model_copy(update={"quoted": ()}), "official", []), {}, tmp_path)
    assert set(again.files) == set(files_below(written.folder)) == set(written.files) - {"quoted.csv"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: expected votes,pass@1,pass@2"),
        ("votes,pass@1\n1,0.5\n", "line 1: expected votes,pass@1,pass@2"),
        ("votes,pass@1,pass@2\n1,0.5,0.5\n2,0.5\n", "line 3: 2,0.5, expected"),
        ("votes,pass@1,pass@2\nmany,0.5,0.5\n", "line 2: many,0.5,0.5, expected"),
        ("votes,pass@1,pass@2\n0,0.5,0.5\n", "line 2: 0,0.5,0.5, expected"),
        ("votes,pass@1,pass@2\n1,0.6,0.5\n", "line 2: 1,0.6,0.5, expected"),
        ("votes,pass@1,pass@2\n1,0.6,nan\n", "line 2: 1,0.6,nan, expected"),
        ("votes,pass@1,pass@2\n1,60,70\n", "line 2: 1,60,70, expected"),
    ],
)
def test_a_votes_file_that_no_vote_has_written_is_refused_by_its_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "votes.csv").write_text(text)
    with pytest.raises(report.BadVotes) as refused:
        report.read_votes(tmp_path / "votes.csv")
    assert str(refused.value).startswith(said)


def test_reports_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys, reports.__main__, reports.page, reports.figures\n"
        "from sweeps.study import find_study\n"
        "from reports.collect import collect\n"
        "collect(find_study('recursion_depth'), 'mini', [])\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'ray'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- with a real MLflow store ---------------------------------------------------------------------------------------


def store_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Two seeds of one row, and a failed run of another, in a SQLite store, by our own tracker."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
    study = find_study("recursion_depth")
    rows = {row.name: row for row in study.rows}
    with Tracker.open(study.name, "mini", out=folder / "results", command=["test"]) as tracker:
        for name, seed, accuracy in (("TRM k=3, T=3", 0, 0.9), ("TRM k=3, T=3", 1, 0.94), ("HRM k=1, T=1", 0, None)):
            run = configure(study, rows[name], "mini", seed)
            job = Job(run.key(DATA), study.name, name, rows[name].base, "mini", seed, run)
            tracker.child(job, DATA, tags={"device": "cpu"})
            start_ms = int(START.timestamp() * 1000)
            tracker.log(job.key, [Measurement(150, start_ms, {"train/loss": 1.5, "test/exact_accuracy": 0.25})])
            if accuracy is None:
                tracker.finish(job.key, "FAILED", reason="RuntimeError: lost a worker")
                continue
            final = {"train/loss": 0.5, "test/exact_accuracy": accuracy, "test/puzzles": 500.0}
            tracker.log(job.key, [Measurement(300, start_ms + 1000, final)])
            tracker.finish(job.key, "FINISHED")
        assert tracker.close("FINISHED") == []
    return study


def test_the_command_makes_the_report_from_a_real_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store_runs(tmp_path, monkeypatch)
    out = tmp_path / "results"
    assert main(["recursion_depth", "--out", str(out)]) == 0
    said = capsys.readouterr()
    folder = out / "mini" / "recursion_depth"
    first = files_below(folder)
    assert set(first) == FILES
    markdown = first["table.md"].decode()
    assert "92.0 ± 25.4" in markdown
    assert "HRM k=1, T=1, seed 0: failed: RuntimeError: lost a worker." in markdown
    assert "did not run" in markdown
    assert "92.0 ± 25.4" in said.out
    assert str(folder / "page.html") in said.out
    assert main(["recursion_depth", "--profile", "mini", "--out", str(out)]) == 0
    assert files_below(folder) == first

    for arguments, words in (
        (["--profile", "official"], ["nothing recorded in profile official", "mini (3)"]),
        (["--set", "model.Dd=3"], ["model.Dd", "did you mean model.D?"]),
        (
            ["--set", "model.D=8", "model.n=2"],
            ["no run in profile mini with model.D=8, model.n=2", "3 recorded runs are not in this table"],
        ),
    ):
        assert main(["recursion_depth", "--out", str(out), *arguments]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert all(word in error for word in words)
    (tmp_path / "a file").write_text("")
    assert main(["recursion_depth", "--out", str(tmp_path / "a file")]) == 2
    assert "a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["required: STUDY; see --help"]),
        (["recursion_depth", "--prof", "mini"], ["unrecognized arguments: --prof"]),
        (["recursion_dept"], ["no such study", "did you mean recursion_depth?"]),
        (["recursion_depth", "--profile", "offical"], ["no such profile", "did you mean official?"]),
        (["recursion_depth"], ["no profile has any", "sweeps/run.py --study recursion_depth"]),
        (["recursion_depth", "--profile", "mini"], ["nothing recorded in profile mini"]),
        (["recursion_depth", "--tracking", "nonsense://x"], ["nonsense"]),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert main([*arguments, "--out", str(tmp_path / "results")]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert all(word in said.err for word in words)
    assert list(tmp_path.iterdir()) == [], "nothing is written, no store created"


def test_a_mistake_of_ours_is_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Study:
        raise ValueError("not the user's")

    monkeypatch.setattr("reports.__main__.find_study", broken)
    with pytest.raises(ValueError, match="not the user's"):
        main(["recursion_depth"])


def test_runs_in_two_profiles_ask_for_a_choice(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "read_runs", lambda study, profile: [] if profile == "paper" else [1])
    with pytest.raises(report.NothingRecorded, match=r"mini \(1\), official \(1\); say which with --profile"):
        report.choose_profile(study)


def test_arcs_report_from_a_real_store_has_its_votes_its_leak_and_what_is_not_there(
    arc_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    out = tmp_path / "results"
    jobs = []
    with Tracker.open(arc_study.name, "official", out=out, command=["test"]) as tracker:
        for row in arc_study.rows:
            run = configure(arc_study, row, "official", 0)
            data = DATA if "ARC-AGI-1" in row.name else "e" * 16
            job = Job(run.key(data), arc_study.name, row.name, row.base, "official", 0, run)
            jobs.append(job)
            tracker.child(job, data, tags={"leaks": "0934a4d8"} if data == DATA else {})
            final = {"test/pass_at_2": 0.25, "test/puzzles": 10.0, "test/votes": 100.0, "train/loss": 0.5}
            tracker.log(job.key, [Measurement(run.train.steps, int(START.timestamp() * 1000), final)])
            tracker.finish(job.key, "FINISHED")
        tracker.close("FINISHED")
    for job, text in zip(jobs, ("votes,pass@1,pass@2\n1,0.1,0.125\n100,0.2,0.25\n", "torn"), strict=False):
        (out / "runs" / job.key / "predictions").mkdir(parents=True)
        (out / "runs" / job.key / "predictions" / "votes.csv").write_text(text)
    written = report.write_report(arc_study, "official", out)
    assert {"figures/accuracy_against_votes.png", "votes.csv", "quoted.csv"} <= set(written.files)
    markdown = (written.folder / "table.md").read_text()
    assert "**Leak: 1 test task was learnt from in TRM-Att, ARC-AGI-1; TRM-MLP, ARC-AGI-1" in markdown
    first, second, *others = jobs
    assert f"| {first.row} | 12.5 | 25.0 |" in markdown
    assert f"runs/{second.key}/predictions/votes.csv, line 1: expected votes,pass@1,pass@2" in markdown
    missing = "; ".join(f"{job.row}, seed 0" for job in others)
    assert f"not known of {second.row}, seed 0; {missing}" in markdown
    assert str(tmp_path) not in markdown
