"""Settings side by side: what differs, which is chosen, and that the test set chooses nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

import pytest

from reports import compare as comparing
from reports.compare import Comparison, NothingToCompare, compare
from reports.figures.files import png, svg
from reports.types import Table
from sweeps.records.types import RunRecord
from sweeps.study import Study
from tests.reports.records import record, table_of

VALIDATION = "validation/exact_accuracy"
LR = ("optim.lr=0.01", "optim.lr=0.003", "optim.lr=0.02")  # of which none is mini's


def scored(study: Study, row: str, validation: float | None, test: float, changes: Sequence[str], *, seed: int = 0,
           status: str = "FINISHED") -> RunRecord:  # fmt: skip
    more = {} if validation is None else {VALIDATION: validation}
    return record(study, row, test if status == "FINISHED" else None, seed=seed, overrides=tuple(changes), more=more,
                  status=status)  # fmt: skip


def tables(study: Study, scores: dict[str, dict[str, tuple[float | None, float]]]) -> list[Table]:
    """changes → row → (validation, test)."""
    return [
        table_of(study, "mini", [scored(study, row, *of, changes.split()) for row, of in rows.items()], changes.split())
        for changes, rows in scores.items()
    ]


@pytest.fixture
def by_lr(study: Study) -> Comparison:
    """The best on validation is the worst on the test set."""
    return compare(
        tables(
            study,
            {
                LR[0]: {"TRM k=1": (0.75, 0.111), "HRM k=1": (0.5, 0.222)},
                LR[1]: {"TRM k=1": (0.5, 0.333), "HRM k=1": (0.5, 0.444)},
                LR[2]: {"TRM k=1": (0.25, 0.555)},
            },
        )
    )


def forms(comparison: Comparison) -> dict[str, str]:
    figure = comparing.draw(comparison)
    assert figure is not None
    return {
        "md": comparing.markdown(comparison),
        "csv": comparing.rows_csv(comparison),
        "terminal": comparing.terminal(comparison, 80),
        "svg": svg(figure),
    }


def test_columns_are_named_by_what_differs_and_stand_in_the_order_of_their_values(by_lr: Comparison) -> None:
    assert by_lr.names == ("lr",)
    assert [by_lr.label(one) for one in by_lr.settings] == ["lr=0.003", "lr=0.01", "lr=0.02"]
    assert by_lr.name.startswith("grid-lr-")


def test_the_best_on_validation_is_chosen_the_first_of_equal_ones_and_the_test_is_shown_for_it_alone(
    by_lr: Comparison,
) -> None:
    trm, hrm = by_lr.lines
    assert trm.chosen == 1
    assert hrm.chosen == 0, "equal: the first"
    for name, text in forms(by_lr).items():
        assert "11.1" in text or "0.111" in text, name
        assert "44.4" in text or "0.444" in text, name
        for other in ("0.222", "22.2", "0.333", "33.3", "0.555", "55.5"):
            assert other not in text, f"{name}: the test score of a setting that was not chosen"
    lines = list(csv.DictReader(io.StringIO(comparing.rows_csv(by_lr))))
    assert [(line["lr"], line["mean"], line["chosen"], line["test_mean"]) for line in lines[:3]] == [
        ("0.003", "0.5", "no", ""),
        ("0.01", "0.75", "yes", "0.111"),
        ("0.02", "0.25", "no", ""),
    ]


def test_every_form_says_of_which_rows_several_settings_are_equally_good(study: Study, by_lr: Comparison) -> None:
    said = forms(by_lr)
    words = "Where several settings are equally good, the first of them is marked (rows: HRM k=1)."
    assert words in said["md"]
    assert words in " ".join(said["terminal"].split())
    assert "Equally good, the first framed: HRM k=1" in said["svg"]
    lines = list(csv.DictReader(io.StringIO(said["csv"])))
    assert [(line["chosen"], line["as_good_as_chosen"]) for line in lines] == [
        ("no", "no"),
        ("yes", "yes"),
        ("no", "no"),
        ("yes", "yes"),
        ("no", "yes"),
        ("no", "no"),
    ]
    alone = compare(
        tables(study, {change: {"TRM k=1": (score, 0.1)} for change, score in zip(LR, (0.5, 0.6, 0.7), strict=True)})
    )
    assert [name for name, text in forms(alone).items() if "qually good" in text] == []


def test_the_markdown_is_this(by_lr: Comparison) -> None:
    assert comparing.markdown(by_lr).startswith("""\
# Small depth: lr compared, profile mini

Exact accuracy on the validation puzzles in % at the end, mean over the finished runs; bold: each row's best. The last \
column is its accuracy on the test set, shown for it alone: the test set never selects.

| Row     | lr=0.003 |  lr=0.01 |     lr=0.02 | Test |
|---------|---------:|---------:|------------:|-----:|
| TRM k=1 |     50.0 | **75.0** |        25.0 | 11.1 |
| HRM k=1 | **50.0** |     50.0 | did not run | 44.4 |

- 1 cell has no number; what is marked is the best of those that have one.
- Where several settings are equally good, the first of them is marked (rows: HRM k=1).
- Rows that none of these campaigns runs are left out: TRM k=6.

## Campaigns
""")


def test_the_order_of_the_tables_moves_nothing(study: Study) -> None:
    made = tables(study, {changes: {"TRM k=1": (0.5, 0.5)} for changes in LR})
    assert forms(compare(made)) == forms(compare(made[::-1]))


def test_two_settings_are_labelled_by_what_differs_and_what_all_share_is_said_once(study: Study) -> None:
    shared = "train.steps=20"
    grid: dict[str, dict[str, tuple[float | None, float]]] = {
        f"{shared} optim.lr={lr} optim.weight_decay={decay}": {"TRM k=1": (lr * 10 + decay / 10, 0.5)}
        for lr in (0.01, 0.02)
        for decay in (0.2, 1)
    }
    found = compare(tables(study, grid))
    assert found.names == ("lr", "weight_decay")
    assert [found.label(one) for one in found.settings] == [
        f"lr={lr}, weight_decay={decay}" for lr in ("0.01", "0.02") for decay in ("0.2", "1")
    ]
    assert found.shared == (shared,)
    assert f"All with {shared}." in comparing.markdown(found)
    assert "steps" not in found.name


def test_a_setting_that_a_campaign_leaves_alone_is_named_by_the_value_it_has(study: Study) -> None:
    found = compare(tables(study, {"model.D=32": {"TRM k=1": (0.5, 0.5)}, "": {"TRM k=1": (0.5, 0.5)}}))
    assert [found.label(one) for one in found.settings] == ["D=32", "D=48"]
    found = compare(tables(study, {"optim.ema=0.5": {"TRM k=1": (0.5, 0.5)}, "": {"TRM k=1": (0.5, 0.5)}}))
    assert [found.label(one) for one in found.settings] == ["ema as it is", "ema=0.5"], "HRM has none, TRM has one"


def test_a_setting_for_some_rows_keeps_its_scope(puzzles_study: Study) -> None:
    scores: dict[str, tuple[float | None, float]] = {"HRM, Maze-Hard": (0.5, 0.5)}
    found = compare(tables(puzzles_study, {f"maze:hrm:optim.lr={lr}": scores for lr in (0.02, 0.03)}))
    assert [found.label(one) for one in found.settings] == ["maze:hrm:lr=0.02", "maze:hrm:lr=0.03"]
    assert found.name.startswith("grid-maze-hrm-lr-")


def test_means_are_over_finished_runs_and_say_how_many_were_asked_for(study: Study) -> None:
    first = [scored(study, "TRM k=1", 0.5 + seed / 10, 0.4, [LR[0]], seed=seed) for seed in (0, 1)]
    first.append(scored(study, "TRM k=1", 0.9, 0.9, [LR[0]], seed=2, status="FAILED"))
    second = [scored(study, "TRM k=1", 0.7, 0.6, [LR[1]], status="RUNNING")]
    found = compare([table_of(study, "mini", first, [LR[0]]), table_of(study, "mini", second, [LR[1]])])
    cells = found.lines[0].cells
    assert cells[1].score is not None
    assert (cells[1].score.n, cells[1].asked, cells[1].chosen) == (2, 3, True)
    assert cells[1].score.mean == pytest.approx(0.55)
    assert comparing.text_of(study, cells[1]) == "55.0 ± 63.5 (2 of 3)"
    assert comparing.text_of(study, cells[0]) == "running"
    assert any("the setting looks better than it is" in note for note in found.notes)


def test_rows_without_validation_puzzles_say_so_and_nothing_is_chosen(arc_study: Study) -> None:
    name = "TRM-Att, ARC-AGI-1"
    made = [
        table_of(arc_study, "mini", [record(arc_study, name, 0.4, overrides=(change,))], [change]) for change in LR[:2]
    ]
    found = compare(made)
    assert [cell.word for cell in found.lines[0].cells] == ["no validation puzzles"] * 2
    assert found.lines[0].chosen is None
    assert found.notes[0].startswith(f"{name}: no validation puzzles are held out, and the test set selects nothing")
    assert comparing.draw(found) is None
    assert "0.4" not in comparing.rows_csv(found)


def test_a_training_loss_chooses_itself_the_least_and_there_is_no_test(losses_study: Study) -> None:
    made = [
        table_of(
            losses_study,
            "mini",
            [record(losses_study, "No EMA", 0.987, overrides=(change,), more={"train/lm_loss": loss})],
            [change],
        )
        for change, loss in zip(LR[:2], (1.25, 1.5), strict=True)
    ]
    found = compare(made)
    assert [(line.row, [cell.chosen for cell in line.cells]) for line in found.lines] == [("No EMA", [False, True])]
    for name, text in forms(found).items():
        assert "1.25" in text, name
        assert "98.7" not in text, name
        assert "0.987" not in text, name
    assert "The training loss itself chooses here" in comparing.markdown(found)
    assert "| Test |" not in comparing.markdown(found)


@pytest.mark.parametrize("settings", [2, 30])
def test_the_terminal_text_fits_and_a_figure_is_drawn_the_same_twice(study: Study, settings: int) -> None:
    made = tables(
        study,
        {
            f"optim.lr={0.01 + at / 1000:g} optim.weight_decay=0.7": {"TRM k=1": (at / 40, 0.5), "HRM k=1": (0.2, 0.1)}
            for at in range(settings)
        },
    )
    found = compare(made)
    text = comparing.terminal(found, 80)
    assert max(map(len, text.splitlines())) <= 80
    assert all(one.values[0] in text for one in found.settings)
    drawn = [comparing.draw(found) for _ in range(2)]
    assert drawn[0] is not None
    assert drawn[1] is not None
    assert png(drawn[0]) == png(drawn[1])
    assert svg(drawn[0]) == svg(drawn[1])
    assert ">test of the best<" in svg(drawn[0])


def test_one_campaign_or_two_profiles_are_no_comparison(study: Study) -> None:
    mini, official = table_of(study, "mini"), table_of(study, "official")
    with pytest.raises(NothingToCompare, match="1 campaign to compare; expected two or more"):
        compare([mini])
    with pytest.raises(NothingToCompare, match="small_depth in mini and small_depth in official: expected one study"):
        compare([mini, official])
