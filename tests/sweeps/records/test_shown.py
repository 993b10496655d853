"""What a campaign leaves for MLflow's own pages. That they show it: tests/browser."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sweeps.campaign import Campaign
from sweeps.records import pages
from sweeps.records.read import read_runs
from sweeps.records.shown import page_of
from sweeps.records.types import Measurement
from sweeps.records.write import Tracker
from tests.conftest import a_study, campaign
from tests.sweeps.records.stores import final, query, send_all, tags

TABLE = "# Title\n\nTable 3.\n\n| Row | Ours |\n|-----|-----:|\n| TRM | 87.4 |\n"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "table.md").write_text(TABLE)
    return folder


def run(of: Campaign, report: Path | None, said: list[str] | None = None) -> Tracker:
    """A launch that finishes all of a campaign's runs."""
    say = [] if said is None else said
    with Tracker.open(of, say=say.append) as tracker:
        for job in of.jobs():
            if tracker.begin(job, "hash").what == "ours":
                tracker.log(job.key, [*final(12, 0.9), Measurement(12, 1_700_000_000_012, {pages.VALIDATION: 0.75})])
                tracker.finish(job.key, "FINISHED")
        assert tracker.close("FINISHED", report) == []
    return tracker


def experiment_tags(store: Path) -> dict[str, str]:
    return dict(query(store, "SELECT key, value FROM experiment_tags"))


def test_the_table_is_the_description_of_the_campaigns_run_and_of_the_experiment_and_is_renewed_with_the_report(
    mlflow_here: Path, report: Path
) -> None:
    of = campaign()
    tracker = run(of, report)
    for number in ("87.4", "88.8"):
        (report / "table.md").write_text(TABLE.replace("87.4", number))
        run(of, report)
        for text in (tags(mlflow_here, tracker.tree.parent_id)[pages.NOTE], experiment_tags(mlflow_here)[pages.NOTE]):
            assert f"| TRM | {number} |" in text
            assert f"viewStateShareKey={of.id}" in text
    assert tags(mlflow_here, tracker.tree.parent_id)[pages.NOTE].startswith("| Row | Ours |")
    top = experiment_tags(mlflow_here)[pages.NOTE].splitlines()[0]
    assert top.endswith(f"/runs/{tracker.tree.parent_id}?workflowType=machine_learning): **A study, mini**")


def test_while_runs_go_on_a_report_that_is_written_anew_is_shown_with_the_next_heartbeat(
    mlflow_here: Path, report: Path
) -> None:
    with Tracker.open(campaign()) as tracker:
        tracker.show(report)
        tracker._parent_beat_at = 0.0
        send_all(tracker)
        assert pages.NOTE not in experiment_tags(mlflow_here), "an older one says less than the runs there are"
        (report / "table.md").write_text(TABLE.replace("87.4", "88.8"))
        os.utime(report / "table.md", (1, 1))
        tracker._parent_beat_at = 0.0
        send_all(tracker)
        assert "| TRM | 88.8 |" in experiment_tags(mlflow_here)[pages.NOTE]
        assert "| TRM | 88.8 |" in tags(mlflow_here, tracker.tree.parent_id)[pages.NOTE]


def test_a_description_that_a_person_wrote_stays(mlflow_here: Path, report: Path) -> None:
    tracker = run(campaign(), report)
    client, experiment = tracker._client, tracker.tree.experiment_id
    client.set_experiment_tag(experiment, pages.NOTE, "mine")
    client.set_tag(tracker.tree.parent_id, pages.NOTE, "mine too")
    run(campaign(), report)
    assert experiment_tags(mlflow_here)[pages.NOTE] == "mine"
    assert tags(mlflow_here, tracker.tree.parent_id)[pages.NOTE] == "mine too"


def test_the_view_is_there_while_runs_go_on_and_is_not_written_anew_for_every_launch(mlflow_here: Path) -> None:
    of = campaign()
    with Tracker.open(of):
        first = experiment_tags(mlflow_here)[f"{pages.VIEW}{of.id}"]
        assert page_of([of]) == f"/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey={of.id}"
    with Tracker.open(of):
        assert experiment_tags(mlflow_here)[f"{pages.VIEW}{of.id}"] == first


def test_the_page_of_several_campaigns_is_that_of_all_runs_and_of_none_there_is_none(
    mlflow_here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert page_of([campaign()]) == ""
    of, other = campaign(), campaign(changes=["optim.lr=0.01"])
    for one in (of, other):
        with Tracker.open(one):
            pass
    assert page_of([of, other]) == "/#/experiments/1/runs?workflowType=machine_learning"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert page_of([of]) == ""


def test_runs_stand_in_the_tables_order_whenever_they_were_made(mlflow_here: Path) -> None:
    of = campaign(a_study("B", "A"), seeds=(1, 0))
    run(of, None)
    by_order = sorted(read_runs("a_study", "mini"), key=lambda one: one.tags["row_order"])
    assert [(one.row, one.seed) for one in by_order] == [("B", 0), ("B", 1), ("A", 0), ("A", 1)]


def test_a_run_says_its_command_its_source_its_user_and_its_puzzles_once(mlflow_here: Path) -> None:
    from mlflow import MlflowClient

    of = campaign(command="python sweeps/run.py --study a_study", data="0123456789abcdef0123")
    for _ in range(2):
        with Tracker.open(of) as tracker:  # begun twice
            tracker.begin(of.jobs()[0], of.runs[0].data, tags={"own_files": "x"})
            tracker.settle(20)
    (record,) = read_runs("a_study", "mini")
    assert record.tags["command"] == of.command
    assert record.tags["mlflow.source.name"] == "sweeps/run.py"
    assert record.tags["mlflow.source.type"] == "LOCAL"
    assert record.tags["mlflow.user"]
    assert record.tags.get("mlflow.source.git.commit", "unknown") == record.tags["commit"]
    inputs = MlflowClient(f"sqlite:///{mlflow_here}").get_run(record.run_id).inputs
    assert inputs is not None
    (used,) = inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("sudoku 4x4, own files", "0123456789abcdef")
    assert json.loads(used.dataset.source)["train"] == json.loads(used.dataset.profile or "")["train"] == 64
    assert [(tag.key, tag.value) for tag in used.tags] == [("mlflow.data.context", "train, validation, test")]


def test_a_run_that_stands_for_anothers_says_its_puzzles_too(mlflow_here: Path) -> None:
    run(campaign(), None)
    run(campaign(a_study(name="another_study")), None)
    assert query(mlflow_here, "SELECT COUNT(*) FROM inputs") == [(2,)]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("experiment_tags", ["the view of its runs by row", "the table as description"]),
        ("inputs", ["the puzzles of TRM k=1, T=1 seed 0"]),
    ],
)
def test_what_a_store_does_not_take_for_its_pages_costs_a_line_of_a_kind_and_not_the_runs(
    mlflow_here: Path, report: Path, table: str, said: list[str]
) -> None:
    query(mlflow_here, f"CREATE TRIGGER no BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'not allowed'); END")
    lines: list[str] = []
    of = campaign(seeds=(0, 1))
    run(of, report, lines)
    assert len(lines) == len(said)
    for line, what in zip(lines, said, strict=True):
        assert what in line
        assert "was not stored" in line
        assert "\n" not in line
    assert [one.status for one in read_runs("a_study", "mini")] == ["FINISHED", "FINISHED"]


def test_a_strangers_view_and_a_strangers_model_name_break_nothing(mlflow_here: Path, report: Path) -> None:
    of, said = campaign(), list[str]()
    with Tracker.open(of) as tracker:
        client, experiment = tracker._client, tracker.tree.experiment_id
    client.set_experiment_tag(experiment, f"{pages.VIEW}{of.id}", '{"state": {"\x1b[2J": 1}}')
    run(of, report, said)
    assert said == []
    assert json.loads(experiment_tags(mlflow_here)[f"{pages.VIEW}{of.id}"])["name"] == "mini"
