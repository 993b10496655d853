"""What curves and files beside a run add to a table."""

from __future__ import annotations

import pytest

from reports.curves import with_losses, with_votes
from sweeps.study import Losses, Study
from tests.reports.records import record, row_of, table_of


def test_losses_are_the_first_the_last_and_the_least_of_a_finished_run(losses_study: Study) -> None:
    done = record(losses_study, "No EMA", 0.0, profile="official")
    running = record(losses_study, "Bigger brain", None, profile="official", status="RUNNING")
    table = table_of(losses_study, "official", [done, running])
    curve = [(10, 2.0), (20, float("nan")), (30, 0.5), (40, 1.0)]
    table = with_losses(table, {(run.run_id, "train/lm_loss"): curve for run in (done, running)})
    assert row_of(table, "No EMA").losses == (Losses(initial=2.0, final=1.0, minimum=0.5),)
    assert row_of(table, "Bigger brain").losses == ()
    assert row_of(table, "Baseline TRM").paper_losses == Losses(initial=1.789, final=1.062, minimum=1.045)


def test_accuracy_by_votes_is_the_mean_over_seeds_where_all_have_it_and_a_lack_is_noted(arc_study: Study) -> None:
    name = "TRM-Att, ARC-AGI-1"
    records = [record(arc_study, name, 0.4, seed=seed, profile="official") for seed in (0, 1, 2)]
    table = table_of(arc_study, "official", records)
    found = {
        records[0].run_id: [(1, 0.1, 0.2), (10, 0.3, 0.4), (12, 0.3, 0.5)],
        records[1].run_id: [(1, 0.3, 0.4), (10, 0.3, 0.6)],
    }
    table = with_votes(table, found)
    (curve,) = table.vote_curves
    assert (curve.row, curve.seeds, curve.votes) == (name, 2, (1, 10))
    assert curve.pass_at[1] == pytest.approx((0.2, 0.3))
    assert curve.pass_at[2] == pytest.approx((0.3, 0.5))
    assert any(f"not known of {name}, seed 2" in note for note in table.notes)


def test_a_table_whose_runs_have_all_not_voted_does_not_name_them_one_by_one(arc_study: Study) -> None:
    records = [record(arc_study, "TRM-Att, ARC-AGI-1", 0.4, seed=seed, profile="official") for seed in (0, 1, 2)]
    (note,) = [one for one in with_votes(table_of(arc_study, "official", records), {}).notes if "votes is" in one]
    assert note.startswith("Accuracy against the number of votes is not known of any run: ")
