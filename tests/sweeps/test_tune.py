"""Tuning every row alike: what is refused, whose turn it is, whether the order changed; and the command end to end."""

from __future__ import annotations

import contextlib
import csv
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sweeps import run as command
from sweeps.campaign import Job, declare
from sweeps.conduct import Asked
from sweeps.machines import Found
from sweeps.names import UntrueName
from sweeps.proposed import Runs
from sweeps.search_record import Confirmed
from sweeps.search_spec import Choices, Dimension, Integers, Objective, Search, find_search
from sweeps.study import find_study
from sweeps.tune import Turns, plan_tuning
from sweeps.tune_record import TunedRow, TuningRecord
from sweeps.tuning import FIRST_SEED, Tuning, check
from tests.sweeps.records.stores import ENDS, query
from tests.sweeps.searches import small, trial
from trm_core.command_line import BadCommand
from trm_core.settings import BadSetting

STUDY = find_study("components")
LR_WD = find_search("lr_wd")
T = Dimension(setting="model.T", range=Integers(low=1, high=3))
EMA = Dimension(setting="optim.ema", range=Choices(values=(0.9, 0.99)))
HEADS = Dimension(setting="model.n_heads", range=Choices(values=(2, 4)), when={"model.mixer": ("attention",)})


def _tuning(search: Search = LR_WD, rows: Sequence[str] = (), **changes: Any) -> Tuning:
    campaign = declare(STUDY, "mini", changes.pop("set", ()))
    asked = Asked(
        campaigns=(campaign,),
        rows=tuple(row for row in STUDY.rows if row.name in rows or not rows),
        seeds=changes.pop("seeds", (0, 1)),
        data_seeds=changes.pop("data_seeds", (0,)),
        out=Path("results"),
        data={},
        launcher=None,
        workers=1,
        yes=False,
        retry_failed=False,
        on=None,
        price=None,
        budget=None,
        found=Found((), None),
        command="",
    )
    return replace(Tuning(asked=asked, search=search, trials=16, storage=None, anyway=False), **changes)


def _over(*space: Dimension) -> Search:
    return LR_WD.model_copy(update={"space": (*LR_WD.space, *space)})


# --- what can be tuned -----------------------------------------------------------------------------------------------


def test_every_row_has_the_same_space_and_trials_and_keeps_what_it_is_named_for() -> None:
    tuning = _tuning()
    check(tuning)
    sought = [tuning.of(row) for row in STUDY.rows]
    assert all(one.search.space == LR_WD.space for one in sought)
    assert {one.search.trials for one in sought} == {one.trials for one in sought} == {16}
    settings = {one.search.row.name: one.base.flat() for one in sought}
    assert settings["no EMA"]["optim.ema"] is None
    assert (settings["w/ T=2, n=2"]["model.T"], settings["w/ T=2, n=2"]["model.n"]) == (2, 2)
    assert {of["train.evaluate_on"] for of in settings.values()} == {"validation"}


def test_each_row_is_a_search_of_its_own_and_all_are_one_campaign_whichever_rows_are_asked_for() -> None:
    tuning, of_two = _tuning(), _tuning(rows=["HRM", "no EMA"])
    sought = [tuning.of(row) for row in STUDY.rows]
    assert len({one.name for one in sought}) == len(STUDY.rows)
    assert sought[1].name == "lr_wd/components/TRM (T=3, n=6)/mini"
    assert {one.campaign_id("") for one in (*sought, of_two.of(STUDY.rows[0]))} == {sought[0].campaign_id("")}
    assert sought[0].row_name(7) == "HRM, trial 7"
    changed = _tuning(set=["train.steps=10"])
    assert changed.of(STUDY.rows[0]).name == "lr_wd/components/HRM/mini/steps=10"
    assert changed.of(STUDY.rows[0]).campaign_id("") != sought[0].campaign_id("")


def test_trials_are_made_at_seeds_that_neither_table_has() -> None:
    sought = _tuning(seeds=(0, 1, 5)).of(STUDY.rows[0])
    assert sought.search.trial_seeds == (FIRST_SEED,)
    assert sought.confirming_seeds == (0, 1, 5)
    with pytest.raises(BadCommand, match="--seeds 1000: a seed of the trials themselves; take seeds below 1000"):
        check(_tuning(seeds=(0, 1000)))


def test_a_dimension_that_would_change_what_a_row_is_named_for_is_refused_by_name_unless_it_is_meant() -> None:
    with pytest.raises(UntrueName, match=r"varies model\.T, and 'HRM' is named for model\.T=2; leave the row out"):
        check(_tuning(_over(T)))
    with pytest.raises(UntrueName, match="it varies optim.ema, and 'no EMA' is named for optim.ema=none"):
        check(_tuning(_over(EMA), rows=["TRM (T=3, n=6)", "no EMA"]))
    check(_tuning(_over(EMA), rows=["TRM (T=3, n=6)"]))
    check(_tuning(_over(T), rows=["HRM"], anyway=True))


def test_a_dimension_that_is_never_there_for_a_row_changes_nothing_of_it() -> None:
    mixer = Dimension(setting="model.n", range=Integers(low=1, high=4), when={"model.mixer": ("attention",)})
    check(_tuning(_over(mixer), rows=["TRM (T=3, n=6)"]))  # an MLP
    with pytest.raises(UntrueName, match=r"varies model\.n, and 'HRM'"):
        check(_tuning(_over(mixer), rows=["HRM"]))


def test_rows_that_differ_in_nothing_but_what_is_varied_are_refused() -> None:
    search, rows = _over(EMA, HEADS), ["TRM (T=3, n=6)", "no EMA"]
    with pytest.raises(BadSetting, match=r"'TRM \(T=3, n=6\)' and 'no EMA' differ in nothing but what it varies"):
        check(_tuning(search, rows, anyway=True))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"trials": 0}, "--trials 0: expected 1 or more"),
        ({"data_seeds": (0, 1)}, "--data-seeds with --tune"),
        ({"search": find_search("recursion")}, "--tune recursion: .* leave a front, and a row needs one best"),
        (
            {
                "search": LR_WD.model_copy(
                    update={
                        "objectives": (Objective(metric="validation/shortest_path_accuracy", direction="maximize"),)
                    }
                )
            },
            "is of mazes alone; add --only",
        ),
    ],
)
def test_what_cannot_be_tuned_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(BadCommand, match=said):
        check(_tuning(**changes))


def test_the_plan_has_the_published_runs_the_trials_and_the_best_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sweeps.records.read.read_runs", lambda *_: [])
    monkeypatch.setattr("sweeps.means.measure_cpu", lambda *_: {})
    plan = plan_tuning(_tuning(rows=["HRM", "no EMA"]))
    assert len(plan.runs) == 2 * (2 + 16 + 2)


# --- turns -----------------------------------------------------------------------------------------------------------


class _Row:
    """The searches' side of a row: so many trials, each of one run, of which some have to wait."""

    def __init__(self, name: str, n: int, *, ended: int = 0, waits: bool = False) -> None:
        self.name, self.n, self.waits, self.heard = name, n, waits, list[str]()
        self.made = ended
        there = [SimpleNamespace(state="complete")] * ended
        self.ledger = SimpleNamespace(trials=lambda: there)

    def more(self) -> Sequence[Job] | None:
        if self.waits:
            return ()
        if self.made == self.n:
            return None
        self.made += 1
        return [cast(Job, SimpleNamespace(key=f"{self.name}{self.made}"))]

    def ended(self, job: Job, failure: object) -> None:
        self.heard.append(job.key)


def _turns(*rows: _Row) -> Turns:
    return Turns(cast(Sequence[Runs], rows))


def _all(turns: Turns) -> list[str]:
    found = []
    while jobs := turns.more():
        found += [job.key for job in jobs]
    return found


def test_rows_take_turns_and_one_that_is_behind_catches_up_first() -> None:
    assert _all(_turns(_Row("a", 2), _Row("b", 2))) == ["a1", "b1", "a2", "b2"]
    assert _all(_turns(_Row("a", 4, ended=2), _Row("b", 4))) == ["b1", "b2", "a3", "b3", "a4", "b4"]


def test_a_row_that_waits_stops_no_other_and_the_end_comes_when_none_has_anything() -> None:
    waiting = _Row("a", 1, waits=True)
    turns = _turns(waiting, _Row("b", 2))
    assert _all(turns) == ["b1", "b2"]
    assert turns.more() == (), "one has to wait"
    waiting.waits = False
    assert _all(turns) == ["a1"]
    assert turns.more() is None


def test_the_end_of_a_run_is_told_to_its_row() -> None:
    rows = _Row("a", 1), _Row("b", 1)
    turns = _turns(*rows)
    jobs = [job for _ in rows for job in turns.more() or ()]
    turns.ended(jobs[1], None)
    assert (rows[0].heard, rows[1].heard) == ([], ["b1"])


# --- what came of it -------------------------------------------------------------------------------------------------


def tuned_row(name: str, published: Sequence[float], tuned: Sequence[float]) -> TunedRow:
    """A row with these test scores at seeds 0, 1, …; its best trial promised 0.9."""
    confirmed = (Confirmed(1, tuple(range(len(tuned))), tuple(tuned), ()),) if tuned else ()
    search = small(trial(0, 0.5), trial(1, 0.9, lr=0.0023456789), confirmed=confirmed)
    return TunedRow(name, search, {"optim.lr": 0.003}, dict(enumerate(published)), dict(enumerate(tuned)))


def record(*rows: TunedRow) -> TuningRecord:
    return TuningRecord(
        "components",
        "lr_wd",
        "Components",
        "mini",
        "test/exact_accuracy",
        "validation/exact_accuracy",
        2,
        (0, 1),
        rows,
        notes=("A note.",),
    )


def test_a_gain_is_over_the_seeds_that_both_have() -> None:
    gain = replace(tuned_row("a", (0.2, 0.4), (0.5, 0.6)), published={0: 0.2, 1: 0.4, 7: 0.9}).gain
    assert gain is not None
    assert (gain.n, round(gain.mean, 9)) == (2, 0.25)
    assert tuned_row("a", (), (0.5,)).gain is None


def test_pairs_that_change_places_are_named_and_equal_ones_are_in_no_order() -> None:
    a, b = tuned_row("a", (0.50, 0.51), (0.50, 0.51)), tuned_row("b", (0.40, 0.41), (0.60, 0.61))
    (swap,) = record(a, b, tuned_row("c", (0.1, 0.1), (0.1, 0.1))).swaps
    assert (swap.above, swap.below, swap.is_clear) == ("a", "b", False), "0.5 ± 0.06 and 0.4 ± 0.06 overlap"
    clear = record(tuned_row("a", (0.5, 0.5), (0.5, 0.5)), tuned_row("b", (0.4, 0.4), (0.6, 0.6))).swaps
    assert [swap.is_clear for swap in clear] == [True]
    assert not record(a, replace(b, test=a.test)).swaps
    assert not record(a, replace(b, published=a.published)).swaps
    assert not record(a, replace(b, test={})).swaps, "one without a number is compared with none"


# --- the command -----------------------------------------------------------------------------------------------------

TINY = ["data.box_rows=2", "data.box_cols=2", "data.clues=7", "data.train=32", "data.validation=8", "data.test=8"]
TINY += ["train.steps=10", "train.batch_size=8", "train.eval_every=5", "model.D=16", "model.n_heads=2", "model.N_sup=2"]
TUNE = ["--study", "components", "--profile", "mini", "--tune", "lr_wd"]
COMMAND = [*TUNE, "--trials", "3", "--seeds", "2", "--only", "TRM (T", "T=2, n=2", "--set", *TINY]


def _count(database: Path, query: str) -> int:
    with contextlib.closing(sqlite3.connect(database)) as open_one:
        (found,) = open_one.execute(query).fetchone()
    return int(found)


@pytest.mark.kills
@pytest.mark.ray
@pytest.mark.slow
def test_two_rows_are_tuned_alike_by_command_and_the_same_command_again_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("COLUMNS", "80")
    assert command.main(COMMAND) == 0
    said = capsys.readouterr().out
    table = said[said.index("Components, profile mini") : said.index("results/mini")]
    assert max(map(len, table.splitlines())) <= 80
    assert re.search(r"Row +As published +Tuned alike +Gain", said)
    (report,) = tmp_path.glob("results/mini/components/tune-lr_wd-*")
    written = {path.name for path in report.iterdir()}
    assert written == {"tuned.md", "tuned.csv", "trials.csv", "campaign.json", "page.html", "figures"}
    assert (report / "figures" / "gains.png").is_file()
    rows = list(csv.DictReader((report / "tuned.csv").read_text().splitlines()))
    assert [row["row"] for row in rows] == ["TRM (T=3, n=6)", "w/ T=2, n=2"]
    assert all(row["trials"] == row["complete"] == "3" for row in rows)
    assert all(len(row[f"{column}_values"].split()) == 2 for row in rows for column in ("published", "tuned"))
    trials = "SELECT count(*) FROM trials WHERE state = 'COMPLETE'"
    assert _count(tmp_path / "optuna.db", trials) == 6
    assert _count(tmp_path / "optuna.db", "SELECT count(*) FROM studies") == 2
    children = "SELECT count(*) FROM tags WHERE key = 'key'"
    assert _count(tmp_path / "mlflow.db", children) == 2 * (2 + 3 + 2)

    texts = {path: path.read_bytes() for path in report.rglob("*") if path.is_file()}
    ends = query(tmp_path / "mlflow.db", ENDS)
    assert command.main(COMMAND) == 0
    assert query(tmp_path / "mlflow.db", ENDS) == ends, "no run of MLflow's is begun again"
    assert "started" not in capsys.readouterr().out
    assert {path: path.read_bytes() for path in report.rglob("*") if path.is_file()} == texts
    assert _count(tmp_path / "mlflow.db", children) == 2 * (2 + 3 + 2)


def test_what_tune_does_not_go_with_is_refused_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    for more, said in (
        (["--search", "lr_wd"], "--search with --tune"),
        (["--grid", "model.D=16,32"], "--grid with --tune"),
        (["--tune", "lr_wt"], "did you mean lr_wd"),
    ):
        assert command.main([*TUNE, *more]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--trials", "0"], "--trials 0: expected 1 or more"),
        (["--budget", "1s"], "--budget 1s: the shortest run"),
        (["--optuna-storage", "postgresql://127.0.0.1:9/x"], "nothing answers"),
        (["--search", "lr_wd"], "leave one out"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    more: list[str],
    said: str,
    tmp_path: Path,
    mlflow_here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    arguments = ["--study", "components", "--profile", "mini", "--only", "HRM", "--tune", "lr_wd", *more]
    assert command.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]
