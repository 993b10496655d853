from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from sweeps.records import pages
from sweeps.records.pages import LONGEST, NOTE, NOTE_OF, REST, VALIDATION, best_on_validation, description, is_ours
from sweeps.records.types import RunRecord
from tests.conftest import a_study, campaign

TABLE = "| Row   |  Ours |\n|-------|------:|\n| TRM   |  87.4 |\n| HRM   |  55.0 |"
REPORT = f"# Title\n\nTable 3.\n\n> **Not comparable.**\n\n{TABLE}\n\n- A note.\n\n## Every row\n\n{TABLE}\n"


def record(row: str, share: float | None, *, minute: int = 0, status: str = "FINISHED", seed: int = 0) -> RunRecord:
    at = datetime(2026, 3, 1, 9, minute, tzinfo=UTC)
    metrics = {"test/exact_accuracy": 1.0} | ({} if share is None else {VALIDATION: share})
    return RunRecord(
        f"{row}{seed}", "a_study", row, "trm", "mini", seed, status, f"run {row} {seed}", {}, {}, metrics, at, at
    )


def test_a_runs_page_begins_with_the_table_and_an_experiments_with_the_links() -> None:
    slim = "| Row | Ours |\n|---|---:|\n| TRM | 87.4 |\n| HRM | 55.0 |"
    of_run = description(REPORT, ["[links](#/)"], table_first=True)
    assert of_run.startswith(f"{slim}\n\n[links](#/)\n\nTable 3.\n\n> **Not")
    of_experiment = description(REPORT, ["[links](#/)", "more"], table_first=False)
    assert of_experiment.startswith("[links](#/)\n\nmore\n\nTable 3.")
    for text in (of_run, of_experiment):
        assert "# Title" not in text
        assert text.endswith(f"## Every row\n\n{slim}")
        assert REST not in text


@pytest.mark.parametrize("rows", [10, 60, 200, 5000])
@pytest.mark.parametrize("table_first", [True, False])
def test_a_description_is_bounded_and_says_what_it_leaves_out(rows: int, table_first: bool) -> None:
    table = "\n".join(["| Row | Ours |", "|---|---:|", *(f"| row {at:04d} | 87.4 ± 1.2 |" for at in range(rows))])
    text = description(f"Table 3.\n\n{table}\n\n## Every row\n\n{table}", ["links"], table_first=table_first)
    assert len(text) <= LONGEST
    assert text.count("| row 0000 |") >= 1
    assert (REST in text) == (rows > 60)
    assert not text.removesuffix(REST).rstrip().endswith("## Every row")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.count("|") == 3 for line in lines), "no line of a table is cut"


def test_a_text_without_a_table_or_with_none_of_anything_does_no_harm() -> None:
    assert description("", [], table_first=True) == ""
    assert description("x" * 10_000, [], table_first=True) == REST
    assert description("Only words.", ["links"], table_first=True) == "links\n\nOnly words."


def test_no_control_character_and_no_password_gets_into_a_description(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ann:kalliope77@host:5000")
    text = description("made at http://ann:kalliope77@host\x1b[2J\u202e, kalliope77", [], table_first=False)
    assert "kalliope77" not in text
    assert all(character.isprintable() for character in text)


def test_strangers_words_are_no_markdown() -> None:
    assert pages.as_text("a](http://evil) <img> `x` | # *b*\n") == (
        "a\\](http://evil) \\<img\\> \\`x\\` \\| \\# \\*b\\* "
    )
    best = pages.Best("sudoku", record("a`](x)\x1b", 1.0), 1.0)
    assert pages.how_to_load(best, "0a").count("`") == 4


def test_what_a_person_wrote_there_is_known_from_what_a_launch_wrote() -> None:
    ours = {NOTE: "a table", NOTE_OF: pages.hash_of("a table")}
    assert is_ours({})
    assert is_ours({NOTE: ""})
    assert is_ours(ours)
    assert not is_ours(ours | {NOTE: "a table, and my remark"})
    assert not is_ours({NOTE: "mine"})


def test_the_view_shows_this_campaigns_runs_by_row_in_the_tables_order() -> None:
    of = campaign(a_study("A", "B"), changes=["optim.lr=0.01"])
    tag, text = pages.view(of, 5)
    envelope = json.loads(text)
    assert tag == f"mlflow.sharedViewState.{of.id}"
    assert envelope["name"] == f"mini {of.label}"
    state = json.loads(envelope["state"])
    assert of.id in state["searchFilter"]
    assert state["groupBy"]["groupByKeys"] == [{"mode": "tag", "groupByData": "row"}]
    assert state["orderByKey"] == "tags.`row_order`"
    assert "metrics.`test/exact_accuracy`" in state["selectedColumns"]
    assert len(text) < LONGEST
    assert pages.is_the_same_view(pages.view(of, 6)[1], text)
    for other in (pages.view(campaign(), 5)[1], "", "[", "[]", "{}", "[" * 100_000, '{"state": 1}'):
        assert not pages.is_the_same_view(other, text)


def test_the_best_is_chosen_on_validation_the_first_of_equals_and_for_each_puzzle_apart() -> None:
    of = campaign(a_study("A", "B"))
    runs = [record("A", 0.5, seed=1, minute=2), record("A", 0.5, minute=1), record("B", 0.4)]
    ((puzzle, run, share),) = best_on_validation(of, runs)
    assert (puzzle, run.row, run.seed, share) == ("sudoku", "A", 0, 0.5)
    worse = [record("B", None), record("B", 0.9, status="FAILED"), record("no row of it", 0.9)]
    assert best_on_validation(of, [*runs, *worse]) == best_on_validation(of, runs)
    assert best_on_validation(of, worse) == []
    mazes = of.rows[1].settings
    assert mazes is not None
    maze_row = of.rows[1].model_copy(
        update={"settings": mazes.change({"data": {"puzzle": "maze", "clues": None}, "model": {"mixer": "attention"}})}
    )
    both = of.model_copy(update={"rows": (of.rows[0], maze_row)})
    assert {(one.puzzle, one.run.row) for one in best_on_validation(both, runs)} == {("sudoku", "A"), ("maze", "B")}
