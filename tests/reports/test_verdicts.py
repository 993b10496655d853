"""What a cell and a claim come to."""

from __future__ import annotations

import numpy as np
import pytest

from reports import verdicts
from reports.curves import with_losses, with_selection
from reports.page import page
from reports.runs import EXACT, VALIDATION
from reports.stats import Pool
from reports.tables import rows
from reports.tables.laid_out import sheet
from reports.types import TableRow
from reports.verdicts import Judged, Verdict, judge, judge_claims
from reports.write.latex import latex
from reports.write.markdown import markdown
from reports.write.terminal import terminal
from sweeps.records.types import RunRecord
from sweeps.study import Claim, ProfileName, Study
from tests.reports.records import record, table_of

THREE = {"good": (0.80, 0.81, 0.82), "bad": (0.60, 0.61, 0.62), "same": (0.605, 0.615, 0.61)}


def verdict_of(rows: tuple[TableRow, ...], name: str) -> Verdict:
    return next(row.verdict for row in rows if row.name == name)


@pytest.mark.parametrize(
    ("paper", "word", "mark"), [(0.81, "reproduced", "≈"), (0.9, "lower", "↓"), (0.7, "higher", "↑")]
)
def test_the_papers_run_inside_our_prediction_is_reproduced_and_outside_it_differs(
    paper: float, word: str, mark: str
) -> None:
    found = judge(Pool(THREE), "good", paper)
    assert (found.word, found.mark) == (word, mark)
    assert found.text == ("reproduced" if word == "reproduced" else f"differs: {word}")


def test_the_papers_rounding_is_no_difference() -> None:
    pool = Pool({"never": (0.0, 0.0, 0.0)})
    assert judge(pool, "never", 0.0).word == "reproduced"
    assert judge(Pool({"hardly": (0.0004, 0.0004)}), "hardly", 0.0).word == "reproduced"
    assert judge(pool, "never", 0.01).word == "lower"


def test_an_interval_that_holds_nearly_everything_is_undecided_and_says_how_many_more_seeds_it_takes() -> None:
    found = judge(Pool({"a": (0.79, 0.81)}), "a", 0.85)
    assert (found.word, found.mark) == ("undecided", "?")
    assert found.more_seeds is not None
    assert found.text == f"undecided: {found.more_seeds} more seeds of each row would decide"
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, 2 + found.more_seeds)
    values = 0.8 + 0.01414 * (values - values.mean()) / values.std(ddof=1)  # as many runs of that spread
    assert judge(Pool({"a": tuple(values.tolist())}), "a", 0.8).word == "reproduced"


def test_one_seed_is_undecided_and_a_spread_too_wide_is_never_decided() -> None:
    one = judge(Pool({"a": (0.81,)}), "a", 0.81)
    assert (one.word, one.more_seeds) == ("undecided", 3)
    assert "one seed has no spread" in one.why
    wild = judge(Pool({"a": (0.2, 0.8, 0.5)}), "a", 0.5)
    assert (wild.word, wild.more_seeds) == ("undecided", None)
    assert "no number of seeds would decide" in wild.why


def test_a_claim_holds_is_contradicted_is_undecided_or_was_not_run() -> None:
    claims = [
        Claim(says="good is better", rising=(("bad", "good"),)),
        Claim(says="good is worse", rising=(("good", "bad"),)),
        Claim(says="it rises", rising=(("bad", "same", "good"),)),
        Claim(says="who?", rising=(("nobody", "good"),)),
    ]
    found = judge_claims(claims, [Pool(THREE)], {"bad": 0.60, "same": 0.61, "good": 0.81})
    assert [one.word for one in found] == ["holds", "contradicted", "undecided", "not run"]
    assert found[1].why == "bad is below good"
    assert found[2].why.startswith("same over bad; ")
    assert "more seeds of each row would find the paper's difference" in found[2].why
    assert found[3].text == "not run: no number of nobody"
    assert [(one.row, one.other) for one in found[0].pairs] == [("good", "bad")]


def test_rows_of_two_test_sets_are_never_compared() -> None:
    pools = [Pool({"sudoku": (0.8, 0.81, 0.82)}), Pool({"maze": (0.1, 0.11, 0.12)})]
    (found,) = judge_claims([Claim(says="no", rising=(("maze", "sudoku"),))], pools, {})
    assert (found.word, found.pairs) == ("undecided", ())
    assert found.why == "it sets apart rows of two test sets"


def test_one_seed_of_each_row_leaves_every_claim_undecided() -> None:
    (found,) = judge_claims([Claim(says="x", rising=(("a", "b"),))], [Pool({"a": (0.1,), "b": (0.9,)})], {"a": 0.1})
    assert found == Judged("x", "undecided", "more seeds would decide")


# --- in a table -------------------------------------------------------------------------------------------------------


def three_seeds(study: Study, name: str, mean: float, profile: ProfileName = "official") -> list[RunRecord]:
    return [record(study, name, mean + 0.01 * at, seed=at + 1, profile=profile, puzzles=422_786) for at in (-1, 0, 1)]


def test_each_cell_has_a_verdict_and_the_rule_stands_with_the_table(study: Study) -> None:
    records = [*three_seeds(study, "TRM k=1", 0.63), *three_seeds(study, "HRM k=1", 0.7)]
    records.append(record(study, "TRM k=6", 0.8, profile="official", puzzles=422_786))
    table = table_of(study, "official", records)
    assert verdict_of(table.rows, "TRM k=1").word == "reproduced"
    assert verdict_of(table.rows, "HRM k=1").word == "higher"
    assert verdict_of(table.rows, "TRM k=6") == Verdict("not comparable", "OOM in the paper")
    marked = [cell.marked for line in sheet(table).lines for cell in line]
    assert {"63.0 ± 1.6 (3) ≈", "70.0 ± 1.6 (3) ↑", "80.0 ± 2.8 (1)"} <= set(marked), (
        "s = 1 point, 4 degrees of freedom"
    )
    for text in (markdown(table), terminal(table), latex(table)["table.tex"], page(table, [])):
        assert "reproduced: the paper's one run lies where one more run of ours would" in " ".join(
            text.replace("&#39;", "'").split()
        )


@pytest.mark.parametrize(
    ("status", "tags", "word"),
    [
        ("RUNNING", {}, "running"),
        ("KILLED", {}, "interrupted"),
        ("FAILED", {}, "failed"),
        ("FAILED", {"state": "diverged"}, "diverged"),
        ("FAILED", {"state": "out of memory"}, "out of memory"),
        ("FINISHED", {}, "not comparable"),
    ],
)
def test_a_row_without_a_number_has_a_verdict_too(study: Study, status: str, tags: dict[str, str], word: str) -> None:
    run = record(study, "TRM k=1", None, status=status, tags=tags, profile="official")
    table = table_of(study, "official", [run])
    assert verdict_of(table.rows, "TRM k=1").word == word
    assert verdict_of(table.rows, "HRM k=1") == Verdict("not run")
    assert verdict_of(table_of(study, "mini").rows, "TRM k=6") == Verdict("not run", "not in this profile")


def test_where_the_scale_is_another_nothing_is_said_of_the_paper(study: Study) -> None:
    table = table_of(study, "mini", three_seeds(study, "TRM k=1", 0.63, "mini"))
    assert verdict_of(table.rows, "TRM k=1") == Verdict("not comparable")
    assert "Verdict" not in rows.row_header(table)


def test_runs_that_were_lost_are_named_with_the_verdict(study: Study) -> None:
    lost = record(study, "TRM k=1", None, seed=9, status="FAILED", tags={"state": "diverged"}, profile="official")
    table = table_of(study, "official", [*three_seeds(study, "TRM k=1", 0.63), lost])
    assert verdict_of(table.rows, "TRM k=1").why == "of 4 runs 1 without a number (diverged)"


def test_the_baseline_and_the_best_stand_in_the_table(study: Study) -> None:
    study = study.model_copy(update={"baseline": ("HRM k=1",)})
    records = [*three_seeds(study, "TRM k=1", 0.63), *three_seeds(study, "HRM k=1", 0.5)]
    table = table_of(study, "official", records)
    trm, hrm, _ = table.rows
    assert (trm.is_best, hrm.is_best) == (True, False)
    assert trm.against is not None
    assert (trm.against.other, trm.against.is_real, hrm.against) == ("HRM k=1", True, None)
    cells = dict(zip(rows.row_header(table), rows.row_cells(table, trm), strict=True))
    assert cells["To baseline"].text == "+13.0 (p < 0.001)"
    assert cells["Ours"].is_best


def test_a_sources_final_loss_is_judged_as_the_papers_accuracy_is(losses_study: Study) -> None:
    runs = [record(losses_study, "No EMA", 0.0, seed=seed, profile="official") for seed in (0, 1, 2)]
    curves = {(run.run_id, "train/lm_loss"): [(1, 1.8), (2, 1.04 + 0.003 * run.seed)] for run in runs}
    table = with_losses(table_of(losses_study, "official", runs), curves)
    assert verdict_of(table.rows, "No EMA").word == "reproduced"
    assert verdict_of(table.rows, "Baseline TRM").word == "not run"


def test_the_last_checkpoint_stands_beside_the_best_and_a_late_decline_is_flagged(study: Study) -> None:
    falls, holds = record(study, "TRM k=1", 0.5), record(study, "HRM k=1", 0.5)
    curves = {
        (falls.run_id, EXACT): [(10, 0.6), (20, 0.7), (30, 0.5)],
        (falls.run_id, VALIDATION): [(10, 0.9), (20, 0.8), (30, 0.1)],
        (holds.run_id, EXACT): [(10, 0.53), (20, 0.5)],
    }
    found = {one.row: one for one in with_selection(table_of(study, "mini", [falls, holds]), curves).selected}
    one = found["TRM k=1"]
    assert (one.last, one.by_validation, one.by_test, one.declined) == (0.5, 0.6, 0.7, True)
    other = found["HRM k=1"]
    assert (other.last, other.by_validation, other.by_test, other.declined) == (0.5, None, 0.53, False)


def test_the_best_on_test_alone_declines_by_twice_as_much() -> None:
    assert [verdicts.declines(0.8, by, 0.9) for by in (0.81, 0.83, None)] == [False, True, True]
    assert not verdicts.declines(0.8, None, 0.83)
