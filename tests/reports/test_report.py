"""From an MLflow store to files, and the command's words for what a user can mend."""

from __future__ import annotations

import ast
import html
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest
from mlflow import MlflowClient

from reports import report
from reports.__main__ import main
from reports.curves import with_losses
from reports.figures import every
from reports.figures.files import inline
from reports.report import render
from sweeps.campaign import VERSION, BadCampaign, Campaign, declare, read
from sweeps.records.read import artefact, campaigns, look_for_campaigns, read_curve
from sweeps.records.types import Measurement
from sweeps.records.write import Tracker
from sweeps.study import ProfileName, Study, find_study
from tests.reports.figures.made import outcomes
from tests.reports.records import DATA, START, record, table_of
from tests.reports.test_solved import thought
from trm_core.outcomes import write_outcomes
from trm_core.settings import DataSettings
from trm_core.solving import thought_file
from trm_core.solving.thought_file import write_thought

ROOT = Path(__file__).parents[2]
DRAWN = ("accuracy_against_depth", "learning_curves", "accuracy_against_flops", "accuracy_against_hours", "cost_by_row")
FILES = {
    "table.md",
    "table.csv",
    "runs.csv",
    "runs.parquet",
    "curves.csv",
    "curves.parquet",
    "table.tex",
    "rows.tex",
    "page.html",
    "campaign.json",
    *(f"figures/{name}.{kind}" for name in DRAWN for kind in ("png", "svg", "csv")),
}


CHECKPOINTS = {"checkpoints.csv", "checkpoints.tex"}  # where a run was tested more than once


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def small_report(study: Study, out: Path) -> report.Report:
    table = table_of(study, "mini", [record(study, "TRM k=1", 0.9), record(study, "HRM k=1", 0.5)])
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
    written = render(table_of(plain, "mini", [record(plain, "TRM k=1", 0.9)]), {}, tmp_path).files
    drawn = {name for name in written if name.endswith(".png")}
    assert "figures/accuracy_by_row.png" in drawn
    assert "figures/accuracy_against_depth.png" not in drawn
    assert "row by row" in (tmp_path / "mini" / "small_depth" / "page.html").read_text()


def test_a_figure_that_can_no_longer_be_drawn_does_not_stay_behind(study: Study, tmp_path: Path) -> None:
    folder = small_report(study, tmp_path).folder
    render(table_of(study, "mini", [record(study, "TRM k=1", None, status="KILLED")]), {}, tmp_path)
    left = {name for name in files_below(folder) if name.startswith("figures/")}
    assert left == {f"figures/cost_by_row.{kind}" for kind in ("png", "svg", "csv")}, "what is known before a run ends"


def test_a_table_of_losses_has_a_figure_of_all_curves_and_one_of_costs(losses_study: Study, tmp_path: Path) -> None:
    records = [record(losses_study, row.name, 0.0, profile="official") for row in losses_study.rows]
    table = table_of(losses_study, "official", records)
    curves = {(run.run_id, "train/lm_loss"): [(10, 2.0), (20, 1.0)] for row in table.rows for run in row.runs}
    written = render(with_losses(table, curves), curves, tmp_path).files
    assert [name for name in written if name.endswith(".png")] == [
        "figures/training_losses.png",
        "figures/cost_by_row.png",
    ]


def test_what_is_quoted_has_a_file_of_its_own(puzzles_study: Study, tmp_path: Path) -> None:
    written = render(table_of(puzzles_study, "official", []), {}, tmp_path)
    assert "quoted.csv" in written.files
    assert set(written.files) == set(files_below(written.folder))
    again = render(table_of(puzzles_study.model_copy(update={"quoted": ()}), "official", []), {}, tmp_path)
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
def test_a_votes_file_that_no_vote_has_written_is_refused_by_its_line(text: str, said: str) -> None:
    with pytest.raises(report.BadVotes) as refused:
        report.read_votes(text)
    assert str(refused.value).startswith(said)


def test_reports_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys, reports.__main__, reports.page, reports.compare\n"
        "from sweeps.study import find_study\n"
        "from reports.collect import collect\n"
        "from sweeps.campaign import declare\n"
        "collect(declare(find_study('recursion_depth'), 'mini'), [])\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'torch', 'ray'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# --- with a real MLflow store ---------------------------------------------------------------------------------------


STUDY = find_study("recursion_depth")
ROWS = ("TRM k=3, T=3", "HRM k=1, T=1")
COMMAND = ["recursion_depth", "--out"]


def run(study: Study, profile: ProfileName, changes: Sequence[str], scores: Mapping[tuple[str, int], float | None], *,
        data: Callable[[DataSettings], str] = lambda _: DATA, final: Mapping[str, float] | None = None,
        artefacts: Mapping[str, Path] | None = None, tags: Mapping[str, str] | None = None) -> Campaign:  # fmt: skip
    """A campaign recorded by our own tracker: (row, seed) → the accuracy it ended with, None: it failed."""
    rows = [row for row in study.rows if any(name == row.name for name, _ in scores)]
    campaign = declare(study, profile, changes)
    campaign = campaign.asked(rows, sorted({seed for _, seed in scores}), [0], data, "python sweeps/run.py")
    with Tracker.open(campaign) as tracker:
        start_ms = int(START.timestamp() * 1000)
        for job in campaign.jobs():
            accuracy = scores[job.row, job.seed]
            assert tracker.begin(job, data(job.run.data), tags={"device": "cpu", **(tags or {})}).what == "ours"
            rows_of_run = [Measurement(150, start_ms, {"train/loss": 1.5, "test/exact_accuracy": 0.25})]
            if accuracy is None:
                tracker.log(job.key, rows_of_run)
                tracker.finish(job.key, "FAILED", reason="RuntimeError: lost a worker")
                continue
            last = {"train/loss": 0.5, study.metric: accuracy, "validation/exact_accuracy": 0.75 * accuracy,
                    "test/puzzles": 500.0, **(final or {})}  # fmt: skip
            tracker.log(job.key, [*rows_of_run, Measurement(300, start_ms + 1000, last)])
            kept = (artefacts or {}).get(job.row)
            tracker.finish(job.key, "FINISHED", artefacts=[] if kept is None else [kept])
        assert tracker.close("FINISHED") == []
        return tracker.campaign


TWO_SEEDS = {("TRM k=3, T=3", 0): 0.7, ("TRM k=3, T=3", 1): 0.74, ("HRM k=1, T=1", 0): None, ("HRM k=1, T=1", 1): None}


def test_the_command_makes_the_report_and_from_mlflow_alone_the_same_bytes_again(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = run(STUDY, "mini", [], TWO_SEEDS)
    written = report.write_report(campaign, store)
    folder = store / "mini" / "recursion_depth"
    first = files_below(folder)
    assert set(written.files) == set(first) == FILES | CHECKPOINTS | {"claims.csv", "claims.tex"}
    assert first["campaign.json"].decode() == campaign.text() == artefact_of(campaign)
    markdown = first["table.md"].decode()
    assert "72.0 ± 25.4" in markdown
    assert "HRM k=1, T=1, seed 0: failed: RuntimeError: lost a worker." in markdown
    assert "did not run" in markdown
    page = first["page.html"].decode()
    assert "http://127.0.0.1:5000/#/experiments/1/runs/" in page
    assert "../../runs/" in page
    assert str(tmp_path) not in page

    elsewhere = tmp_path / "another folder"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert main([*COMMAND, "again"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "72.0 ± 25.4" in said.out
    assert "again/mini/recursion_depth/\n" in said.out
    assert "page.html" in said.out
    assert files_below(Path("again/mini/recursion_depth")) == first
    assert max(len(line) for line in said.out.splitlines()) <= 80


def test_every_figure_whose_data_a_store_has_is_drawn_in_the_pages_colours_and_the_same_twice(store: Path) -> None:
    study = find_study("cycles")
    scores = {("T=3, n=6", 0): 0.8, ("T=3, n=6", 1): 0.82, ("T=1, n=2", 0): 0.5, ("T=1, n=2", 1): 0.53}
    final = {
        **{f"test/exact_accuracy/step_{step:02d}": 0.1 * step for step in (1, 2, 4)},
        **{f"validation/residual_{of}/{over}_01": 0.5 for of in "yz" for over in ("step", "recursion")},
        "train/ema_distance": 0.01,
    }
    table = report.read_table(run(study, "mini", [], scores, final=final))
    runs = [(row, one) for row in table.rows for one in row.runs]
    curves = {
        (one.run_id, name): read_curve(one.run_id, name) for row, one in runs for name in every.metrics_of(row, one)
    }
    kept = {one.run_id: outcomes([1, 0, 1, 0], halted_at=[1, 2, 0, 0], ratings=[0, 1, 2, 3]) for _, one in runs}
    first, second = (render(table, curves, store / name, outcomes=kept) for name in ("first", "second"))
    others = {"accuracy_by_row", "accuracy_against_votes", "training_losses"}  # of other kinds of tables
    assert {name for name in first.files if name.endswith(".png")} == {
        f"figures/{name}.png" for name in every.NAMES if name not in others
    }
    assert first.table.not_drawn == ()
    assert files_below(first.folder) == files_below(second.folder)
    for name in first.files:
        if name.endswith(".svg"):
            image = inline((first.folder / name).read_text(encoding="utf-8"), "", "one")
            assert set(re.findall(r"#[0-9a-f]{6}\b", image)) <= {"#000000"}, (
                f"{name}: a colour that no dark page changes"
            )


def test_a_report_draws_what_became_of_each_puzzle_from_the_runs_own_files(store: Path) -> None:
    campaign = run(STUDY, "mini", [], {(ROWS[0], 0): 0.5}, final={"test/exact_accuracy/step_01": 0.5})
    (job,) = campaign.jobs()
    kept = outcomes([1, 0, 1, 0], ratings=[0, 1, 2, 3], data_hash=DATA)
    write_outcomes(kept, store / "runs" / job.key / "outcomes.npz")
    written = report.write_report(campaign, store)
    assert {"figures/halting.csv", "figures/accuracy_by_rating.csv"} <= set(written.files)
    lines = (written.folder / "figures" / "accuracy_by_rating.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[-6:-2] for line in lines[1:]] == [
        *(["0", "0", "1", "1.0"], ["1", "1", "1", "0.0"], ["2", "2", "1", "1.0"], ["3", "3", "1", "0.0"]),
    ]


def test_a_figure_that_lacks_its_data_is_named_on_the_page_and_in_markdown_with_what_records_it(
    study: Study, tmp_path: Path
) -> None:
    written = small_report(study, tmp_path)
    for name in ("table.md", "page.html"):
        text = (written.folder / name).read_text(encoding="utf-8")
        assert "Figures not drawn" in text
        assert "Residuals: train.diagnostics=true records them" in text
        assert "Halting: no run's outcomes.npz is at hand" in html.unescape(text)


def artefact_of(campaign: Campaign) -> str | None:
    (found,) = campaigns(campaign.study.name)
    return artefact(found.run_id, "campaign.json")


def test_which_of_several_campaigns_is_said_and_each_has_a_folder_of_its_own(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(STUDY, "mini", ["optim.lr=0.01"], {(ROWS[0], 0): 0.8})
    run(STUDY, "mini", ["optim.lr=0.02"], {(ROWS[0], 0): 0.7})
    out = [*COMMAND, str(store)]
    assert main(out) == 0
    said = capsys.readouterr()
    assert " ".join(said.err.split()) == (
        "this is the campaign lr=0.02; there is also --label lr=0.01; --all writes them all, --compare all compares"
        " them"
    ), "the newest, where none is without changes"
    run(STUDY, "mini", [], {(ROWS[0], 0): 0.9})
    assert main(out) == 0
    said = capsys.readouterr()
    line = " ".join(said.err.split())
    assert line.startswith("this is the campaign without changes; there is also --label lr=0.02, --label lr=0.01")
    assert max(map(len, said.err.splitlines())) <= 80
    assert "2 recorded runs are not in this table: the campaign lr=0.01 (1); the campaign lr=0.02 (1)." in " ".join(
        said.out.split()
    )
    home = store / "mini" / "recursion_depth"
    for arguments, label in (
        (["--label", "lr=0.01"], "lr=0.01"),
        (["--set", "optim.lr=1e-2"], "lr=0.01"),
        (["--set", " optim.lr=0.02 "], "lr=0.02"),
    ):
        assert main([*out, *arguments]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        assert f"{home / label}/" in said.out.splitlines()
    before = files_below(home)
    assert main([*out, "--all"]) == 0
    assert files_below(home) == before
    capsys.readouterr()

    for arguments, words in (
        (["--profile", "official"], ["nothing recorded in profile official", "mini (3)"]),
        (["--label", "lr=0.03"], ["no campaign labelled 'lr=0.03'", "--label lr=0.02", "--label ''"]),
        (["--set", "model.Dd=3"], ["model.Dd", "did you mean model.D?"]),
        (["--set", "model.D=8"], ["no campaign with --set model.D=8", "--label lr=0.01"]),
        (["--set", "model.D=8", "--all"], ["expected one of them"]),
        (["--compare", "lr=0.01"], ["1 campaign to compare; expected two or more"]),
    ):
        assert main([*out, *arguments]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert all(word in error for word in words), error
    (store.parent / "a file").write_text("")
    assert main([*COMMAND, str(store.parent / "a file")]) == 2
    assert "a file" in capsys.readouterr().err


def test_an_older_campaign_with_the_same_label_is_named_by_its_id(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The study was edited in between: other settings, another campaign, a folder of its own."""
    older = run(STUDY, "mini", [], {(ROWS[0], 0): 0.5})
    report.write_report(older, store)
    row = STUDY.rows[0].model_copy(update={"change": {"model": {"n": 1, "T": 2}}})
    edited = STUDY.model_copy(update={"rows": (row, *STUDY.rows[1:])})
    newer = run(edited, "mini", [], {(ROWS[0], 1): 0.75})
    assert main([*COMMAND, str(store)]) == 0
    said = capsys.readouterr()
    assert f"--label {older.id[:8]} (older, the one without changes)" in " ".join(said.err.split())
    assert f"{store / 'mini' / 'recursion_depth' / f'campaign-{newer.id[:8]}'}/\n" in said.out
    assert main([*COMMAND, str(store), "--label", older.id[:8]]) == 0
    assert f"{store / 'mini' / 'recursion_depth'}/\n" in capsys.readouterr().out


def test_a_document_cannot_name_a_folder_outside_the_results(store: Path) -> None:
    campaign = declare(STUDY, "mini", ["optim.lr=0.01"])
    for label in ("../../elsewhere", "..", "/etc"):
        with pytest.raises(BadCampaign, match="label"):
            read(campaign.model_copy(update={"label": label}).text(), "campaign.json")


def test_a_document_that_mlflow_has_lost_is_read_from_the_results_folder_and_that_is_said(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_thought(thought(right=True), tmp_path / thought_file.NAME)
    kept = {ROWS[0]: tmp_path / thought_file.NAME}
    more = {"test/exact_accuracy/step_01": 0.5}
    campaign = run(STUDY, "mini", [], {(ROWS[0], 0): 0.9}, artefacts=kept, final=more)
    written = report.write_report(campaign, store)
    page = (written.folder / "page.html").read_text()
    assert f"{ROWS[0]}, seed 0: TRM · test 7: solved" in page, "what the run thought is in MLflow, and is shown"
    assert "data:image/png" in page
    for path in tmp_path.glob("mlruns/**/campaign.json"):
        path.unlink()
    assert main([*COMMAND, str(store)]) == 0
    said = capsys.readouterr()
    words = " ".join(said.err.split())
    assert words == f"the campaign's document is {written.folder / 'campaign.json'}: MLflow has none"
    assert main([*COMMAND, str(tmp_path / "empty")]) == 2
    assert "has no campaign.json that can be reached; give the study's command again" in capsys.readouterr().err


def documents_of(tmp_path: Path, campaign: Campaign) -> list[Path]:
    """Where MLflow keeps a campaign's document."""
    return [path for path in tmp_path.glob("mlruns/**/campaign.json") if campaign.id in path.read_text()]


def newer(path: Path) -> None:
    path.write_text(path.read_text().replace(f'"version": {VERSION}', '"version": 99', 1))


def test_a_document_that_mlflow_has_torn_or_newer_is_not_said_to_be_missing(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    campaign = run(STUDY, "mini", [], {(ROWS[0], 0): 0.9})
    report.write_report(campaign, store)
    (kept,) = documents_of(tmp_path, campaign)
    newer(kept)
    for why in ("a campaign document of version 99", "torn, or no campaign document"):
        assert main([*COMMAND, str(store)]) == 0
        said = " ".join(capsys.readouterr().err.split())
        assert f"{store / 'mini' / 'recursion_depth' / 'campaign.json'}: not MLflow's; campaign.json of" in said
        assert why in said
        assert "MLflow has none" not in said
        kept.write_text('{"version": 1, "id"')


def test_one_document_that_cannot_be_read_does_not_keep_the_others_from_theirs(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = [run(STUDY, "mini", [f"optim.lr={lr}"], {(ROWS[0], 0): 0.8}) for lr in (0.01, 0.02, 0.03)]
    (torn,) = documents_of(tmp_path, grid[1])
    newer(torn)
    for option in (["--all"], ["--compare", "all"], ["--label", "all"]):
        assert main([*COMMAND, str(store), *option]) == 0
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert said.err.startswith("error: campaign.json of MLflow's run ")
        assert "version 99" in said.err
    home = store / "mini" / "recursion_depth"
    assert [(home / f"lr=0.0{digit}" / "page.html").is_file() for digit in (1, 2, 3)] == [True, False, True]
    assert len(list(home.glob("grid-*/comparison.md"))) == 1

    assert main([*COMMAND, str(store), "--label", "lr=0.02"]) == 2, "asked for by name"
    capsys.readouterr()
    for campaign in (grid[0], grid[2]):
        newer(documents_of(tmp_path, campaign)[0])
    for path in home.glob("*/campaign.json"):
        path.unlink()
    assert main([*COMMAND, str(store), "--all"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == said.err.count("version 99") == 3


def test_a_torn_document_in_the_results_folder_alone_is_named_as_well(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = store / "mini" / "recursion_depth" / "lr=0.5" / "campaign.json"
    torn.parent.mkdir(parents=True)
    torn.write_text("{")
    assert main([*COMMAND, str(store)]) == 2
    assert str(torn) in capsys.readouterr().err
    run(STUDY, "mini", [], {(ROWS[0], 0): 0.9})
    assert main([*COMMAND, str(store), "--all"]) == 0
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert str(torn) in said.err
    assert f"{store / 'mini' / 'recursion_depth'}/\n" in said.out


def test_a_strangers_profile_that_does_not_exist_asks_for_no_choice(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(STUDY, "mini", [], {(ROWS[0], 0): 0.9})
    client = MlflowClient()
    experiment = client.get_experiment_by_name("recursion_depth")
    assert experiment is not None
    client.create_run(experiment.experiment_id, tags={"role": "campaign", "campaign": "x", "profile": "huge"})
    found, bad = look_for_campaigns("recursion_depth")
    assert [one.profile for one in found] == ["mini"]
    assert "id 'x'" in bad[0]
    assert main([*COMMAND, str(store)]) == 0
    assert "huge" not in capsys.readouterr().err


def test_a_broken_campaign_that_somebody_wrote_last_is_said_and_passed_over(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(STUDY, "mini", [], {(ROWS[0], 0): 0.9})
    client = MlflowClient()
    (ours,) = campaigns("recursion_depth")
    tags = {"role": "campaign", "campaign": "0" * 16, "profile": "mini", "label": ""}
    client.create_run(ours.experiment_id, tags=tags)
    assert [one.id for one in campaigns("recursion_depth")] == ["0" * 16, ours.id]
    assert main([*COMMAND, str(store)]) == 0
    said = capsys.readouterr()
    assert "has no campaign.json that can be reached" in said.err
    assert f"{store / 'mini' / 'recursion_depth'}/\n" in said.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["required: STUDY; see --help"]),
        (["recursion_depth", "--prof", "mini"], ["unrecognized arguments: --prof"]),
        (["recursion_dept"], ["no such study", "did you mean recursion_depth?"]),
        (["recursion_depth", "--profile", "offical"], ["no such profile", "did you mean official?"]),
        (["recursion_depth"], ["no campaign in", "mlflow.db, which is not there", "sweeps/run.py --study"]),
        (["recursion_depth", "--profile", "mini"], ["no campaign in", "nor below"]),
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
    def broken(*_: object) -> None:
        raise ValueError("not the user's")

    monkeypatch.setattr("reports.__main__.find", broken)
    with pytest.raises(ValueError, match="not the user's"):
        main(["recursion_depth"])


def test_campaigns_in_two_profiles_ask_for_a_choice(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(STUDY, "mini", [], {(ROWS[0], 0): 0.9})
    run(STUDY, "official", [], {(ROWS[0], 0): 0.9})
    assert main([*COMMAND, str(store)]) == 2
    assert "campaigns in mini (1), official (1); say which with --profile" in capsys.readouterr().err


def test_arcs_report_has_its_votes_from_the_folder_or_from_mlflow_its_leak_and_what_is_not_there(
    arc_study: Study, store: Path, tmp_path: Path
) -> None:
    good, torn = tmp_path / "good" / "votes.csv", tmp_path / "torn" / "votes.csv"
    for path, text in ((good, "votes,pass@1,pass@2\n1,0.1,0.125\n100,0.2,0.25\n"), (torn, "torn")):
        path.parent.mkdir()
        path.write_text(text)
    first, second, *others = arc_study.rows
    campaign = run(
        arc_study,
        "official",
        [],
        {(row.name, 0): 0.25 for row in arc_study.rows},
        data=lambda settings: DATA if settings.test_subset == "evaluation" else "e" * 16,
        final={"test/puzzles": 10.0, "test/votes": 100.0},
        artefacts={first.name: good, second.name: torn},
        tags={"leaks": "0934a4d8"},
    )
    written = report.write_report(campaign, store)
    assert {"figures/accuracy_against_votes.png", "votes.csv", "quoted.csv"} <= set(written.files)
    markdown = (written.folder / "table.md").read_text()
    assert "**Leak: 1 test task was learnt from (data.allow_leak): 0934a4d8" in markdown
    assert f"| {first.name} | 12.5 | 25.0 |" in markdown
    jobs = {job.row: job for job in campaign.jobs()}
    assert f"votes.csv of {second.name}, seed 0 ({jobs[second.name].key}), line 1: expected votes,pass@1" in markdown
    missing = "; ".join(f"{row.name}, seed 0" for row in others)
    assert f"not known of {second.name}, seed 0; {missing}" in markdown
    assert str(tmp_path) not in markdown
    (store / "runs" / jobs[first.name].key / "predictions").mkdir(parents=True)
    good.rename(store / "runs" / jobs[first.name].key / "predictions" / "votes.csv")
    before = files_below(written.folder)
    assert files_below(report.write_report(campaign, store).folder) == before, "the folder's votes are MLflow's"


def test_reports_configures_no_row_again() -> None:
    for file in (ROOT / "reports").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in ("sweeps.profiles", "sweeps.recipes"), f"{file}:{node.lineno}"
                assert "declare" not in [alias.name for alias in node.names], f"{file}:{node.lineno}"
            assert not (isinstance(node, ast.Name) and node.id in ("configure", "PROFILES")), f"{file}:{node.lineno}"
