from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data_prep.unfinished import this_machine
from sweeps.campaign import Campaign
from sweeps.records.address import note
from sweeps.records.types import Measurement, Owner, RunRecord
from sweeps.records.write import Tracker
from sweeps.status import RunStatus, in_short, lines, print_status, status_of
from sweeps.study import UnknownStudy
from tests.conftest import a_study, campaign
from tests.sweeps.records.stores import another_process, final, hear, query, rows, send_all

NOW = 1_700_000_000_000
ROOT = Path(__file__).parents[2]
LONG = a_study("TRM k=1, T=1", "HRM with two networks of four layers, k=1, T=1", "TRM w/ self-attention, T=3")


def record(of: Campaign, at: int = 0, status: str = "FINISHED", **more: object) -> RunRecord:
    """What MLflow would hold of the campaign's run at a place in its document."""
    run = of.runs[at]
    facts: dict[str, object] = {
        "tags": {"campaign": of.id, "data": run.data},
        "metrics": {"test/exact_accuracy": 0.9},
        "study": of.study.name,
    }
    plain = RunRecord(
        run.key, "", run.row, "trm", "mini", run.seed, status, f"run {at}", {}, {}, {}, datetime.now(UTC), None
    )
    return replace(plain, **{**facts, **more})  # type: ignore[arg-type]


def owner(beat_s_ago: float = 1.0, **more: object) -> Owner:
    plain = Owner("a" * 32, "far", "another machine", 7, "me", NOW - round(1000 * beat_s_ago), 120, 184.0)
    return replace(plain, **more)  # type: ignore[arg-type]


def only(of: Campaign, *records: RunRecord) -> RunStatus:
    (row,) = status_of(of, records, NOW)
    return row


# --- what became of a run --------------------------------------------------------------------------------------------


def test_a_run_that_nobody_has_begun_waits() -> None:
    assert only(campaign()) == RunStatus("TRM k=1, T=1", "seed 0", "waiting", 12)


def test_a_run_whose_owners_heart_beats_is_running_and_says_how_far_it_is_and_where() -> None:
    seen = only(campaign(), record(campaign(), status="RUNNING", metrics={"train/loss": 0.5239}, owners=(owner(),)))
    assert seen.became == "running"
    assert seen.words == "step 120/12, loss 0.524, 3:04 left, process 7 on far"


@pytest.mark.parametrize(
    "of",
    [owner(beat_s_ago=600), owner(machine=this_machine(), pid=2**30)],
    ids=["its heartbeat stopped", "its process is gone"],
)
def test_a_run_whose_owner_is_gone_is_interrupted_at_the_step_it_last_told(of: Owner) -> None:
    seen = only(campaign(), record(campaign(), status="RUNNING", metrics={}, owners=(of,)))
    assert (seen.became, seen.step) == ("interrupted", 120)
    assert seen.words == f"at step 120/12, process {of.pid} on far"


@pytest.mark.parametrize(
    ("tags", "became"),
    [({}, "failed"), ({"state": "diverged"}, "diverged"), ({"state": "out of memory"}, "out of memory")],
)
def test_a_failed_run_says_of_which_kind_and_why(tags: dict[str, str], became: str) -> None:
    why = {"failure": "Diverged: the loss is nan", "step": "7", **tags}
    seen = only(campaign(), record(campaign(), status="FAILED", tags=why | {"campaign": campaign().id}))
    assert seen.became == became
    assert seen.words == "at step 7/12, Diverged: the loss is nan"


def test_a_pruned_trial_has_ended_for_its_search_and_for_no_study_that_has_the_same_run() -> None:
    of = campaign()
    pruned = record(of, status="KILLED", tags={"state": "pruned", "step": "6", "campaign": of.id})
    seen = only(of, pruned)
    assert (seen.became, seen.words) == ("pruned", "at step 6/12, 90.0 %")
    assert in_short([seen]) == "0 of 1 done, 1 pruned"
    of_a_search = replace(pruned, study="search_lr_wd", tags=pruned.tags | {"campaign": "b" * 16})
    assert only(of, of_a_search).became == "interrupted"


def test_a_run_that_another_study_makes_is_running_there() -> None:
    theirs = record(campaign(), status="RUNNING", study="puzzles", tags={"campaign": "b" * 16}, owners=(owner(),))
    seen = only(campaign(), theirs)
    assert (seen.became, seen.elsewhere) == ("running", "puzzles")
    assert seen.words.endswith("by puzzles")


def test_of_several_records_the_finished_one_counts_then_the_running_one_then_ones_own() -> None:
    of = campaign()
    killed = record(of, status="KILLED")
    theirs: dict[str, Any] = {"study": "puzzles", "tags": {"campaign": "b" * 16}}
    running = record(of, status="RUNNING", owners=(owner(),), **theirs)
    assert only(of, running, killed).became == "running"
    assert only(of, killed, running, record(of)).became == "done"
    assert only(of, killed, record(of, status="FAILED", **theirs)).became == "interrupted"


def test_rows_stand_in_the_studys_order_and_are_counted() -> None:
    of = campaign(a_study("A", "B"), seeds=(0, 1))
    seen = status_of(of, [record(of, 0), record(of, 3, status="FAILED")], NOW)
    assert [(row.row, row.seeds) for row in seen] == [
        ("A", "seed 0"),
        ("A", "seed 1"),
        ("B", "seed 0"),
        ("B", "seed 1"),
    ]
    assert in_short(seen) == "1 of 4 done, 1 failed, 2 waiting"


@pytest.mark.parametrize("width", [60, 80, 100])
def test_every_line_fits_and_no_word_is_broken_and_no_seed_is_lost(width: int) -> None:
    of = campaign(LONG, seeds=(0, 11), data_seeds=(0, 3))
    reason = "OSError: [Errno 2] No such file or directory: '/a/very/long/path/" + "x" * 120 + "/to/puzzles.csv'"
    seen = status_of(of, [record(of, 1, status="FAILED", tags={"failure": reason}), record(of, 2)], NOW)
    printed = [line for line, _ in lines(seen, width)]
    assert max(map(len, printed)) <= width
    for seeds in ("seed 0 ", "seed 11 ", "seed 0, data seed 3 ", "seed 11, data seed 3 "):
        assert sum(f" {seeds}" in f" {line} " for line in printed) >= 3
    words = {word for line in printed for word in line.split() if "…" not in word}
    known = " ".join([reason, *(f"{row.row} {row.seeds} {row.became} {row.words}" for row in seen)]).split()
    assert words <= {*known, "done", "by"}


# --- from a real store -----------------------------------------------------------------------------------------------


@pytest.fixture
def studied(mlflow_here: Path) -> Campaign:
    """One run of each kind, and one that another study makes in this very process."""
    of = campaign(seeds=range(7), command="python sweeps/run.py --study a_study")
    jobs = of.jobs()
    with Tracker.open(of) as tracker:
        for job in jobs[:4]:
            tracker.begin(job, "hash")
            tracker.log(job.key, [*rows(2, 4), *final(4, 0.875)])
        tracker.finish(jobs[0].key, "FINISHED")
        tracker.finish(jobs[1].key, "FAILED", reason="IndexError: no such cell")
        tracker.finish(jobs[2].key, "FAILED", reason="Diverged: the loss is nan at step 4", state="diverged")
        tracker.close("KILLED")
    return of


def test_the_status_of_a_study_says_of_every_run_what_became_of_it(
    studied: Campaign, mlflow_here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = campaign(a_study(name="another_study"), seeds=range(7))
    before = query(mlflow_here, "SELECT * FROM runs"), query(mlflow_here, "SELECT * FROM tags")
    assert print_status("a_study", None, tmp_path) == 0
    assert before == (query(mlflow_here, "SELECT * FROM runs"), query(mlflow_here, "SELECT * FROM tags"))
    said = " ".join(capsys.readouterr().out.split())
    assert "a_study in mini: 1 of 7 done, 1 interrupted, 1 failed, 1 diverged, 3 waiting" in said
    assert "seed 0 done 87.5 %" in said
    assert "seed 1 failed at step 4/12, IndexError: no such cell" in said
    assert "seed 2 diverged at step 4/12, Diverged: the loss is nan at step 4" in said
    assert "seed 3 interrupted at step 4/12" in said
    assert "seed 4 waiting" in said
    with Tracker.open(other) as tracker:
        tracker.begin(other.jobs()[5], "hash")
        tracker.log(other.jobs()[5].key, [Measurement(6, 1_700_000_000_006, {"train/loss": 0.25})])
        tracker.expect(other.jobs()[5].key, 65.0)
        tracker._children[other.jobs()[5].key].beat_at = 0.0
        send_all(tracker)
        assert print_status("a_study", "mini", tmp_path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "seed 5 running step 6/12, loss 0.25, 1:05 left, process" in said
    assert "by another_study" in said


def test_a_run_whose_process_was_killed_is_interrupted_at_the_step_of_its_last_heartbeat(
    mlflow_here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    program = (
        "from sweeps.records.write import Tracker\n"
        "from tests.conftest import campaign; from tests.sweeps.records.stores import rows, send_all\n"
        "of = campaign(); tracker = Tracker.open(of); key = of.jobs()[0].key\n"
        "tracker.begin(of.jobs()[0], 'hash'); tracker.log(key, rows(2, 4))\n"
        "tracker._children[key].beat_at = 0.0; send_all(tracker); print('ready', flush=True); input()\n"
    )
    process = another_process(program)
    assert hear(process) == "ready"
    assert print_status("a_study", None, tmp_path) == 0
    assert f"process {process.pid} on" in " ".join(capsys.readouterr().out.split())
    process.kill()
    process.communicate()
    for _ in range(2):  # as it lies there; and after another launch has cleaned up
        assert print_status("a_study", None, tmp_path) == 0
        assert "interrupted at step 4/12" in " ".join(capsys.readouterr().out.split())
        with Tracker.open(campaign()):
            pass


def test_without_a_name_every_campaign_of_every_study_has_a_line_newest_first(
    studied: Campaign, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for of in (campaign(changes=["model.D=32"]), campaign(a_study(name="another_study"))):
        with Tracker.open(of):
            pass
    assert print_status(None, None, tmp_path) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said if not line.startswith(" ")] == [
        "another_study in mini",
        "a_study in mini with D=32",
        "a_study in mini",
    ]
    assert max(map(len, said)) <= 80


def test_a_document_that_is_torn_hides_no_other_campaign(
    studied: Campaign, mlflow_here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (document,) = (mlflow_here.parent / "mlruns").rglob("campaign.json")
    document.write_text("{")
    with Tracker.open(campaign(a_study(name="another_study"))):
        pass
    assert print_status(None, None, tmp_path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "another_study in mini: 1 of 1 done" in said  # by the other study
    assert "torn" in said


def test_what_others_did_to_an_experiment_is_said_with_the_way_back(
    mlflow_here: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Tracker.open(campaign()) as tracker:
        client, where = tracker._client, tracker.tree.experiment_id
    client.create_run(where, tags={"role": "campaign", "campaign": "0" * 16, "profile": "mini", "label": "../\x1b[2J"})
    client.rename_experiment(where, "old")
    assert print_status("a_study", None, tmp_path) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"`mlflow experiments rename --experiment-id {where} --new-name a_study`" in said
    assert "1 record is no campaign, and left out" in said
    assert said.isprintable()


def test_where_nothing_is_recorded_it_is_said_where_one_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    assert print_status("recursion_depth", "mini", tmp_path / "results") == 0
    said = "".join(capsys.readouterr().out.split())
    assert "nothingrecordedofrecursion_depthinmini;lookedin" in said
    assert "mlflow.db,whichisnotthere" in said
    assert list(tmp_path.iterdir()) == []


def test_the_results_folder_says_where_its_runs_are_from_any_other_folder(
    studied: Campaign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert print_status("a_study", None, tmp_path) == 0
    assert "1 of 7 done" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "nearest"), [("recursion_dept", "recursion_depth"), ("a_stud", "a_study")])
def test_an_unknown_study_is_told_the_nearest_name_declared_or_recorded(
    studied: Campaign, name: str, nearest: str, tmp_path: Path
) -> None:
    with pytest.raises(UnknownStudy, match=f"did you mean {nearest}"):
        print_status(name, None, tmp_path)


def test_status_loads_neither_torch_nor_ray(studied: Campaign, tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sweeps.status import print_status\n"
        "assert print_status('a_study', None, Path(sys.argv[1])) == 0\n"
        "assert not {'torch', 'ray'} & sys.modules.keys(), sorted({'torch', 'ray'} & sys.modules.keys())\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, env=dict(os.environ), check=True)
