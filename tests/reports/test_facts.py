"""What was run, in words, and what keeps it from the paper's column."""

from __future__ import annotations

from sweeps.study import Study
from tests.reports.records import record, table_of


def test_a_setting_that_differs_between_bases_is_told_by_base(study: Study) -> None:
    records = [record(study, name, 0.5) for name in ("TRM k=1", "HRM k=1")]
    facts = dict(table_of(study, "mini", records).facts)
    assert facts["EMA"] == "TRM 0.95, HRM none"
    assert "learning rate" not in facts, "all rows have mini's"
    same = table_of(study, "mini", [record(study, "TRM k=1", 0.5, overrides=("optim.ema=0.5",))], ["optim.ema=0.5"])
    assert "EMA" not in dict(same.facts)


def test_facts_tell_the_puzzles_of_every_kind(puzzles_study: Study, arc_study: Study) -> None:
    facts = dict(table_of(puzzles_study, "official", []).facts)
    assert facts["puzzles"].startswith("9×9 Sudoku, published: 1,000 training")
    assert "30×30 Maze, published: 1,000 training" in facts["puzzles"]
    assert "learning rate" not in facts
    facts = dict(table_of(arc_study, "official", []).facts)
    assert "tasks of training2, evaluation2, tested on evaluation2" in facts["puzzles"]


def test_how_numbers_are_made_keeps_none_from_the_papers_column(arc_study: Study) -> None:
    for change in ("train.evaluate_apart=true", "train.compile=off", "train.diagnostics=true"):
        run = record(arc_study, "TRM-Att, ARC-AGI-2", 0.2, profile="official", overrides=(change,))
        table = table_of(arc_study, "official", [run], [change])
        assert table.comparable
        assert table.warnings == ()
    both = ("train.compile=off", "optim.lr=0.5")
    run = record(arc_study, "TRM-Att, ARC-AGI-2", 0.2, profile="official", overrides=both)
    table = table_of(arc_study, "official", [run], list(both))
    assert table.warning == "settings changed (optim.lr=0.5): not comparable with the paper's column"


def test_a_run_on_own_files_is_never_put_beside_the_papers_column(arc_study: Study) -> None:
    origin = "own files for evaluation (3 tasks, hash 0123456789ab), not ARC-AGI-1's evaluation tasks"
    own = record(arc_study, "TRM-Att, ARC-AGI-1", 0.9, profile="official", tags={"own_files": origin})
    sound = record(arc_study, "TRM-Att, ARC-AGI-2", 0.2, profile="official")
    table = table_of(arc_study, "official", [own, sound])
    assert table.warning == f"{origin}: not comparable with the paper's column"
    assert all(row.difference is None for row in table.rows)
    assert "ARC, own tasks of training" in dict(table.facts)["puzzles"]
    table = table_of(arc_study, "official", [sound])
    assert table.comparable
    assert "ARC, published tasks of" in dict(table.facts)["puzzles"]


def test_a_leak_is_named_with_its_first_tasks_and_its_rows_and_nothing_is_compared(arc_study: Study) -> None:
    tasks = ",".join(f"task{number}" for number in range(7))
    leaking = record(arc_study, "TRM-Att, ARC-AGI-1", 0.9, profile="official", tags={"leaks": tasks})
    sound = record(arc_study, "TRM-MLP, ARC-AGI-1", 0.3, profile="official")
    table = table_of(arc_study, "official", [leaking, sound])
    assert table.leak == (
        "leak: 7 test tasks were learnt from in TRM-Att, ARC-AGI-1 (data.allow_leak):"
        " task0, task1, task2, task3, task4 and 2 more"
    )
    assert table.warnings == (table.leak, "leaking tasks: not comparable with the paper's column")
    assert all(row.difference is None for row in table.rows)
    one = record(arc_study, "TRM-Att, ARC-AGI-1", 0.9, profile="official", tags={"leaks": "task0"})
    assert table_of(arc_study, "official", [one]).leak == "leak: 1 test task was learnt from (data.allow_leak): task0"
    assert table_of(arc_study, "official", [sound]).warnings == ()
