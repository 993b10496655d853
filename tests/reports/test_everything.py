"""All reports and their index, the check of committed tables, and the watch, on a real store of several studies."""

from __future__ import annotations

import csv
import gc
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow import MlflowClient

from reports import everything, watch
from reports.__main__ import main
from reports.everything import Reader, look
from reports.index import entry_of
from reports.report import gather
from sweeps.campaign import declare
from sweeps.records import read
from sweeps.records.address import TrackingUnavailable
from sweeps.records.types import Measurement
from sweeps.records.write import Tracker
from sweeps.study import find_study
from tests.reports.records import DATA, START
from tests.reports.test_report import TWO_SEEDS, files_below, run

DEPTH, EMA = find_study("recursion_depth"), find_study("ema")
ROWS = [row.name for row in EMA.rows_of("mini")]


@pytest.fixture(scope="module")
def made(empty_mlflow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store of two studies, one half-finished and with a campaign of changes, and their reports."""
    folder = tmp_path_factory.mktemp("several")
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")
        run(EMA, "mini", [], {(row, 0): 0.6 for row in ROWS}, data=lambda _: "e" * 16)
        run(DEPTH, "mini", [], TWO_SEEDS)
        run(DEPTH, "mini", ["optim.lr=0.003"], {("TRM k=1, T=1", 0): 0.5})
        assert main(["all"]) == 0
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in the current folder: the results folder."""
    shutil.copy(made / "mlflow.db", tmp_path / "mlflow.db")
    shutil.copytree(made / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return tmp_path / "results"


def test_every_campaign_has_its_report_and_the_index_leads_to_it(made: Path) -> None:
    results = made / "results"
    pages = {str(path.relative_to(results)) for path in results.rglob("page.html")}
    assert pages == {f"mini/{name}/page.html" for name in ("ema", "recursion_depth", "recursion_depth/lr=0.003")}
    index, markdown = (results / "index.html").read_text(), (results / "index.md").read_text()
    for page in pages:
        assert f'href="{page.replace("=", "%3D")}"' in index
        assert f"]({page.replace('=', '%3D')})" in markdown
    assert "2 studies, 3 campaigns: 7 of 9 runs finished" in index
    assert "http" not in index.replace("http-equiv", ""), "nothing is fetched"
    assert "data-every" not in index, "nothing goes on"


def test_the_index_says_what_is_missing_and_the_command_that_makes_it(made: Path) -> None:
    lines = (made / "results" / "index.md").read_text().splitlines()
    assert (
        "- recursion_depth in mini: 2 of 4 runs (2 failed); 5 rows without a number:"
        " `python sweeps/run.py --study recursion_depth --profile mini --only 'HRM k=1, T=1' 'TRM k=1, T=1'"
        " 'HRM k=2, T=2' 'TRM k=2, T=2' 'HRM k=3, T=3' --seeds 2 --retry-failed`" in lines
    )
    assert "- ema in mini" not in "\n".join(lines)
    assert "- layers in mini: not asked for: `python sweeps/run.py --study layers --profile mini`" in lines


def test_what_a_person_sees_fits_80_columns(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(here)
    assert main(["all", "--profile", "mini"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-2:] == ["results/index.html", "results/index.md"]
    assert "recursion_depth in mini: 2 of 4 done, 2 failed" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert said.err == ""


# --- what cannot be read ---------------------------------------------------------------------------------------------


def test_an_unreadable_document_and_a_bad_record_are_lines_of_the_index(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient()
    record = read.read_runs("ema", "mini")[0]
    experiment = client.get_run(record.run_id).info.experiment_id
    tags = {"role": "campaign", "campaign": "f" * 16, "profile": "mini", "study": "ema", "label": "lr=7"}
    torn = client.create_run(experiment, tags=tags)
    client.log_text(torn.info.run_id, "torn <b>", "campaign.json")
    client.set_tag(record.run_id, "seed", "<script>")
    assert main(["all"]) == 0
    index = (here / "index.html").read_text()
    assert f"ema in mini with lr=7: campaign.json of MLflow&#39;s run {torn.info.run_id}: torn" in index
    assert "its seed &#39;&lt;script&gt;&#39; is no number" in index
    assert "<script>" not in index
    assert "ema in mini: 3 of 4 done, 1 waiting" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["all", "--profile", "minni"], "did you mean mini?"),
        (["all", "--profile", "paper"], "no campaign in profile paper in"),
        (["all", "--frobnicate"], "unrecognized arguments"),
        (["watch", "recursion_dept"], "did you mean recursion_depth?"),
        (["watch", "layers"], "layers: no campaign in"),
        (["watch", "ema", "--every", "0"], "expected seconds, 1 or more"),
        (["watch"], "required: STUDY"),
    ],
)
def test_a_mistake_is_one_line(here: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str) -> None:
    before = files_below(here)
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert len(said.err.splitlines()) == 1
    assert said.out == ""
    assert files_below(here) == before


def test_an_empty_store_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert main(["all"]) == 2
    assert "no campaign in" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_knows_none_of_the_campaigns_is_refused_and_the_index_stays(
    here: Path, tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: (here / file).read_bytes() for file in files_below(here)}
    shutil.copy(empty_mlflow, tmp_path / "another.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'another.db'}")
    assert main(["all"]) == 2
    said = capsys.readouterr().err
    assert "not one of the 3 campaigns whose documents lie below results is in" in said
    assert "another.db" in said
    assert {file: (here / file).read_bytes() for file in files_below(here)} == before


def test_an_experiment_that_names_a_way_out_of_the_folder_is_left_out(here: Path) -> None:
    client = MlflowClient()
    client.create_experiment("../../elsewhere")
    (there,) = read.campaigns("ema")
    tags = {"role": "campaign", "campaign": there.id, "profile": "mini", "study": "../../elsewhere"}
    experiment = client.get_experiment_by_name("../../elsewhere")
    assert experiment is not None
    client.create_run(experiment.experiment_id, tags=tags)
    found = look(here)
    assert set(found.campaigns) == {"ema", "recursion_depth"}
    assert any("../../elsewhere" in line for line in found.said)


def test_a_server_that_goes_away_in_between_is_asked_again_and_then_the_rest_stands(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def silent_at_times(campaign: object, *rest: object, **options: object) -> object:
        asked.append(campaign.study.name)  # type: ignore[attr-defined]
        if asked.count("recursion_depth") in range(1, n_silent + 1):
            nothing_answers()
        return gather(campaign, *rest, **options)  # type: ignore[arg-type]

    def nothing_answers(*_: object) -> None:
        raise TrackingUnavailable("sqlite: nothing answers")

    monkeypatch.setattr(everything, "gather", silent_at_times)
    monkeypatch.setattr(everything, "connect", nothing_answers)
    monkeypatch.setattr(everything, "ASK_AGAIN_S", 0.0)
    n_silent = 2
    there = look(here)
    assert all(one.gathered is not None for one in Reader(here).read(there))
    asked.clear()
    n_silent = 10**9
    reader = Reader(here, patience_s=0.0)
    entries = [entry_of(one, here, 0) for one in reader.read(there)]
    assert asked == ["ema", "recursion_depth"], "once it is gone, it is asked no more"
    assert [entry.study for entry in entries if not entry.said] == ["ema"]
    monkeypatch.setattr(everything, "PATIENCE_S", 0.0)
    monkeypatch.setattr(Reader, "patience_s", 0.0)
    monkeypatch.setattr(watch, "Reader", lambda out: Reader(out, patience_s=0.0))
    assert main(["all"]) == 2
    assert capsys.readouterr().err == "error: sqlite: nothing answers; what was read until then is written\n"
    assert "not read: sqlite: nothing answers" in (here / "index.md").read_text()


def test_a_campaign_that_mlflow_refuses_is_a_line_and_not_waited_for(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient()
    experiment = client.get_experiment_by_name("ema")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)  # its campaign is known from the results folder alone
    monkeypatch.setattr(everything, "ASK_AGAIN_S", 1e6)
    reader = Reader(here)
    entries = {entry.study: entry for entry in (entry_of(one, here, 0) for one in reader.read(look(here)))}
    assert "restore" in entries["ema"].said[0]
    assert entries["ema"].page == "mini/ema/page.html"
    assert entries["recursion_depth"].said == ()
    assert reader.gone is None
    assert gc.isenabled()


# --- --check ---------------------------------------------------------------------------------------------------------


def test_tables_that_are_what_the_store_gives_are_equal_but_for_cells_that_were_asked_for_and_are_missing(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(here / "curves")
    before = files_below(here)
    assert main(["all", "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    lacking = [line for line in lines if "has no number" in line]
    assert len(lacking) == 1, "the other rows were never asked for"
    assert lacking[0].startswith("mini/recursion_depth: row 'HRM k=1, T=1' has no number: failed")
    assert [line for line in lines if "ema" in line or "table" in line or "csv" in line] == []
    assert files_below(here) == before
    for folder in ("recursion_depth", "recursion_depth/lr=0.003"):
        client = MlflowClient()
        label = "lr=0.003" if folder.endswith("3") else ""
        for one in read.campaigns("recursion_depth"):
            if one.label == label:
                client.delete_run(one.run_id)
    shutil.rmtree(here / "mini" / "recursion_depth")
    assert main(["all", "--check"]) == 0
    assert capsys.readouterr().out == "1 campaign compared with results: all is as the store gives it\n"


def test_a_campaign_of_some_rows_only_is_equal_once_these_have_their_numbers(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(DEPTH, "mini", [], {("HRM k=1, T=1", 0): 0.5, ("HRM k=1, T=1", 1): 0.54})
    assert main(["all"]) == 0
    capsys.readouterr()
    assert main(["all", "--check"]) == 0
    assert capsys.readouterr().out == "3 campaigns compared with results: all is as the store gives it\n"
    assert "did not run" in (here / "mini" / "recursion_depth" / "table.md").read_text()


def test_each_file_and_row_that_differs_is_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    committed = here.parent / "committed"
    shutil.copytree(here / "mini" / "ema", committed / "mini" / "ema")
    ema = committed / "mini" / "ema"
    rows = [*csv.reader((ema / "table.csv").read_text().splitlines())]
    changed = (ema / "table.csv").read_text().replace("EMA 0.95,", "EMA 0.96,", 1)
    (ema / "table.csv").write_text(changed)
    (ema / "table.md").write_text((ema / "table.md").read_text().replace("60.0", "61.0", 1))
    (ema / "votes.csv").write_text("votes\n")
    (ema / "runs.csv").unlink()  # not every form has to be committed
    (committed / "mini" / "layers").mkdir()
    (committed / "mini" / "layers" / "table.md").write_text("# Layers\n")
    before = files_below(committed)
    assert main(["all", "--check", "committed"]) == 1
    said = " ".join(capsys.readouterr().out.split())
    assert "mini/ema/table.csv: row 'EMA 0.95' is not there, the store gives it" in said
    assert "mini/ema/table.csv: row 'EMA 0.96' is there, the store gives none" in said
    assert "61.0" in said
    assert "the store gives 60.0" in said
    assert "mini/ema/votes.csv: the store gives no such table any more" in said
    assert "mini/layers/table.md: is there, the store has no such campaign" in said
    assert "mini/recursion_depth: no table is there" in said
    assert "runs.csv" not in said
    assert len(rows) == 1 + len(EMA.rows)
    assert files_below(committed) == before


# --- watch -----------------------------------------------------------------------------------------------------------


def begun(tracker: Tracker) -> Callable[[float], None]:
    """The study's last run goes on; what is returned ends it."""
    (job,) = tracker.campaign.jobs()
    now = int(START.timestamp() * 1000)
    tracker.begin(job, DATA)
    tracker.log(job.key, [Measurement(50, now, {"train/loss": 1.25})])
    tracker.expect(job.key, 90.0)
    tracker.settle(60)

    def end(_: float) -> None:
        tracker.log(job.key, [Measurement(350, now + 1, {"train/loss": 0.5, "test/exact_accuracy": 0.75})])
        tracker.finish(job.key, "FINISHED")
        tracker.close("FINISHED")

    return end


def test_a_watched_study_is_written_again_until_its_runs_are_finished_and_asks_for_itself_meanwhile(
    mlflow_here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(mlflow_here.parent)
    monkeypatch.setenv("COLUMNS", "80")
    out = Path("results")
    of = declare(DEPTH, "mini").asked([DEPTH.rows[0]], [0], [0], lambda _: DATA, "python sweeps/run.py")
    page, index = out / "mini" / "recursion_depth" / "page.html", out / "index.html"
    turns: list[tuple[str, str]] = []
    with Tracker.open(of) as tracker:
        end = begun(tracker)

        def next_turn(seconds: float) -> None:
            assert seconds == 7
            turns.append((page.read_text(), index.read_text()))
            end(seconds)

        assert watch.watch("recursion_depth", out, every_s=7, sleep=next_turn) == 0
    ((first, first_index),) = turns
    for text in (first, first_index):
        assert 'data-every="30"' in text
        assert "50 of 350" in text
        assert "1.25" in text
        assert "1:30" in text
    for last in (page, index):
        assert "data-every" not in last.read_text()
    assert "75.0" in page.read_text()
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[2] for line in said if "recursion_depth" in line] == [
        "recursion_depth in mini: 0 of 1 done, 1 running",
        "recursion_depth in mini: 1 of 1 done",
    ]
    assert any("step 50/350, loss 1.25, 1:30 left" in line for line in said)
    assert max(map(len, said)) <= 80


def test_ctrl_c_ends_a_watch_well_and_a_silent_mlflow_is_said_once(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    turns = 0

    def silent(*_: object) -> None:
        raise TrackingUnavailable("sqlite: nothing answers")

    def next_turn(_: float) -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            monkeypatch.setattr(watch, "look", silent)
        if turns == 3:
            raise KeyboardInterrupt

    before = (here / "mini" / "ema" / "page.html").stat().st_mtime_ns
    assert watch.watch("recursion_depth", here, sleep=next_turn) == 0
    assert capsys.readouterr().err.splitlines() == [
        "error: sqlite: nothing answers; asked again every 30 s",
        "watched no more; the runs go on",
    ]
    assert (here / "mini" / "ema" / "page.html").stat().st_mtime_ns == before, "other studies' reports stay"
